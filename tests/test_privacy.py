"""Names, birth dates and free text of an archive reach no output, no message and no log."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VR

from archives import copy_of
from watched import tour, watched

CANARY = "Zxqcanary"
BIRTH = "19370229"  # no date of any archive
# tags of names, dates and texts that archives in the wild have left filled in
TEXTS = (
    *("PatientName", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientAddress"),
    *("PatientMotherBirthName", "PatientTelephoneNumbers", "PatientComments", "EthnicGroup"),
    *("Occupation", "AdditionalPatientHistory", "MedicalAlerts", "Allergies", "PatientID"),
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord"),
    *("NameOfPhysiciansReadingStudy", "RequestingPhysician", "StudyDescription", "StudyID"),
    *("SeriesDescription", "ProtocolName", "ImageComments", "AccessionNumber"),
    *("DeviceSerialNumber", "RequestedProcedureDescription", "PerformedProcedureStepDescription"),
    *("DerivationDescription", "AcquisitionDeviceProcessingDescription", "ContentLabel"),
    *("Manufacturer", "BodyPartExamined", "WindowCenterWidthExplanation", "PatientState"),
    *("ReasonForStudy", "StudyComments"),
)
# texts that are read, and shown only where they say what the standard or the archive says
CODES = ("Modality", "ViewPosition", "PatientOrientation", "Laterality", "ImageLaterality")


def tell_everything(path: Path, *, bare: bool = False) -> None:
    """Fill in every tag of a DICOM file that may hold text; the pixels stay."""
    data = pydicom.dcmread(path)
    data.SpecificCharacterSet = "ISO_IR 192"
    for number, keyword in enumerate(TEXTS):
        text = f"{CANARY}{number}"
        setattr(data, keyword, f"{text}^{text}" if dictionary_VR(keyword) == "PN" else text)
    data.PatientBirthDate = BIRTH
    for keyword in CODES if bare else ():
        setattr(data, keyword, f"{CANARY.upper()[:12]}")
    block = data.private_block(0x0029, f"{CANARY} private", create=True)
    block.add_new(1, "LT", f"{CANARY} of the maker")
    block.add_new(2, "SQ", [pydicom.Dataset()])
    block[2].value[0].PatientName = f"{CANARY}^Inner"
    data.save_as(path)


def tell_in_tables(source: Path) -> None:
    """Add columns of names and notes to every CSV table, and a report for each text file."""
    for path in source.rglob("*.csv"):
        text = path.read_bytes().decode("utf-8", errors="replace")
        delimiter = ";" if text.split("\n", 1)[0].count(";") > 2 else ","
        table = list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter))
        table[0] += ["Patient name", "Findings Notes", "Birth date"]
        for row in table[1:]:
            row += [f"{CANARY} Jane", f"{CANARY} in the left breast", BIRTH]
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(table)
    for path in source.rglob("*.txt"):
        path.write_text(f"Paciente {CANARY}, nascida em {BIRTH}\n", encoding="utf-8")


def everything_written(folder: Path) -> dict[str, str]:
    """Return all files below a folder as text, packed ones unpacked, and all names."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        data = path.read_bytes() if path.is_file() else b""
        text = (gzip.decompress(data) if name.endswith(".gz") else data).decode("latin-1")
        found[name] = name + "//" + text
    return found


def leaks(text: str) -> list[str]:
    found = re.finditer(rf"(?i){CANARY[:11]}|{BIRTH}", text)
    return [text[max(one.start() - 40, 0) : one.end() + 20] for one in found]


def prepared(dataset: str, folder: Path) -> Path:
    source = copy_of(dataset, folder / "source")
    for number, path in enumerate(sorted(source.rglob("*.dcm"))):
        tell_everything(path, bare=number % 3 == 2)
    tell_in_tables(source)
    spoil(dataset, source)
    return source


def spoil(dataset: str, source: Path) -> None:
    """Damage some files, so that errors have something to quote."""
    if dataset == "inbreast":
        dicoms = sorted(source.rglob("*.dcm"))
        data = dicoms[0].read_bytes()
        dicoms[0].write_bytes(data[: data.index(CANARY.encode()) + 40])
        contours = sorted(source.rglob("*.xml"))[0]
        text = contours.read_text(encoding="utf-8")
        contours.write_text(re.sub(r"<string>\(.*?\)", f"<string>{CANARY}", text, count=1))
    for table in sorted(source.rglob("*.csv"))[:1]:
        with table.open("a", encoding="utf-8") as file:  # cells moved to the wrong columns
            file.write(";".join([f"{CANARY} {number}" for number in range(11)]) + "\n")
            file.write(",".join([f"{CANARY} {number}" for number in range(14)]) + "\n")


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("dataset", ["inbreast", "cbis"])
def test_no_name_and_no_free_text_gets_out(dataset, tmp_path):
    source = prepared(dataset, tmp_path)
    out = tmp_path / "out"
    told = watched(source, tour(dataset, source, out))
    for one in told["done"]:
        assert not leaks(one["said"]), one["command"]
        assert one["code"] in (0, 1), one
    written = everything_written(out)
    assert any(name.endswith("records.csv") for name in written)
    assert any("/logs/" in name for name in written)
    for name, text in written.items():
        assert not leaks(text), name


@pytest.mark.parametrize("dataset", ["bcdr", "cdd", "csaw"])
def test_no_column_that_nobody_named_gets_out(dataset, tmp_path):
    source = prepared(dataset, tmp_path)
    out = tmp_path / "out"
    words = tour(dataset, source, out)
    told = watched(source, [one for one in words if one[0] in ("inspect", "refactor")])
    for one in told["done"]:
        assert not leaks(one["said"]), one["command"]
    for name, text in everything_written(out).items():
        assert not leaks(text), name
