"""Which tags of a DICOM header may identify a person. Values never leave this module."""

from __future__ import annotations

import re
import warnings
from typing import BinaryIO

import pydicom

from bcseg.formats.damage import DAMAGED

# direct identifiers of the Basic Application Level Confidentiality Profile (PS3.15 E.1)
_TAGS = (
    "PatientName",
    "PatientBirthDate",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientMotherBirthName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "InstitutionName",
    "InstitutionAddress",
    "AccessionNumber",
)
# what anonymisers and these archives write instead of a name
_HARMLESS = re.compile(
    r"\W*(removed|anon\w*|unknown|none|n/?a|0+|x+|(mass|calc)-\w+|p_\d+(\W+p_\d+)?|)\W*",
    re.IGNORECASE,
)


def identifiable_tags(file: BinaryIO) -> set[str]:
    """Return the keywords of tags that are filled in and may identify a person.

    A file that is no readable DICOM has none: the reader of images says so.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(
                file, stop_before_pixels=True, force=False, specific_tags=list(_TAGS)
            )
            values = {tag: str(header.get(tag, "")) for tag in _TAGS}
        except DAMAGED:
            return set()
    return {tag for tag, value in values.items() if not _HARMLESS.fullmatch(value.strip())}
