"""Which tags of a DICOM header may identify a person. Values never leave this module."""

from __future__ import annotations

import re
import warnings
from typing import BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword

from bcseg.errors import RecordError
from bcseg.formats.damage import DAMAGED
from bcseg.formats.dicom import filled_in

# direct identifiers of the Basic Application Level Confidentiality Profile (PS3.15 E.1)
_TAGS = (
    "AccessionNumber",
    "InstitutionName",
    "InstitutionAddress",
    "ReferringPhysicianName",
    "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers",
    "StationName",
    "InstitutionalDepartmentName",
    "PhysiciansOfRecord",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientAddress",
    "InsurancePlanIdentification",
    "PatientMotherBirthName",
    "MedicalRecordLocator",
    "PatientTelephoneNumbers",
    "Occupation",
    "PatientReligiousPreference",
    "PatientComments",
    "DeviceSerialNumber",
    "RequestingPhysician",
)
# what anonymisers and these archives write instead of a name: a word, nothing, a hash, and the
# names that CBIS-DDSM gives its images ("Mass-Test_P_00194_RIGHT_CC_1", "P_02464^P_02464")
_HARMLESS = re.compile(
    r"[\W_]*((de-?)?identified|removed|anon\w*|unknown|none|n/?a|[0x]+|[0-9a-f]{16,}"
    r"|((mass|calc)-(training|test)_)?p_\d{5}(_\w+)?(\.dcm)?(\W+p_\d{5})?|)[\W_]*",
    re.IGNORECASE,
)


def identifiable_tags(file: BinaryIO) -> set[str]:
    """Return the keywords of tags that are filled in and may identify a person.

    A file that is no readable DICOM has none: the reader of images says so.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tags = tuple(sorted(filter(None, map(tag_for_keyword, _TAGS))))
        try:
            header = filled_in(file, "", tags)
            return {tag for tag in _TAGS if _may_identify(header.get(tag))}
        except RecordError:
            return set()
        except DAMAGED:
            return set()


def _may_identify(value: object) -> bool:
    parts = value if isinstance(value, (list, pydicom.multival.MultiValue)) else (value,)
    return any(part is not None and not _HARMLESS.fullmatch(str(part).strip()) for part in parts)
