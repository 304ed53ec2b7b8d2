"""DICOM Segmentation: a file a pair, a segment a lesion, on the grid of the source image.

The lesions are drawn once more on the raw grid, from what lesions.jsonl.gz holds of the source:
exact for every preset, whole where the written image was cropped, checked by annotation_sha256.

Of the source file only what `formats.dicom.Header` holds goes in: no name, no date, no free text.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg import __version__, adapters
from bcseg.errors import RecordError, UsageError
from bcseg.export.base import Job, facts, missing, table_bytes, year_of
from bcseg.formats.dicom import Header, read_header
from bcseg.reading import Pair, PairLesion
from bcseg.record import Size
from bcseg.redrawing import annotation_sha256, raw_patch, raw_size
from bcseg.source import Source, open_source, read
from bcseg.store import write_atomic

TITLE = "DICOM SEG"
CANNOT = (
    "background pairs: a segmentation has a segment",
    "preset, crop and size: lesions are whole, on the grid of the source image",
    "splits: they stay in splits.csv",
)
TABLE = "segments.csv"

_COLUMNS = (
    *("case", "file", "segment", "lesion_id", "kind", "area_px"),
    *("source_image", "sop_instance_uid"),
)

_NOT_DICOM = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".pgm"}
_UIDS = uuid.UUID("6f0cf5d6-6f3c-5c0e-9d0b-2b7a8f0a4f52")  # the namespace of all UIDs made here

# Category and type of a segment: keywords of SNOMED CT in DICOM (PS3.16)
_LESION, _ANATOMY = "MorphologicallyAbnormalStructure", "AnatomicalStructure"
_CODES: Mapping[str, tuple[str, str]] = {
    "mass": (_LESION, "MammographicBreastMass"),
    "calcification": (_LESION, "CalcificationOfBreast"),
    "cluster": (_LESION, "CalcificationCluster"),
    "asymmetry": (_LESION, "AsymmetricBreastTissue"),
    "distortion": (_LESION, "ArchitecturalDistortionOfBreast"),
    "spiculated_region": (_LESION, "SpiculatedLesion"),
    "adenopathy": (_LESION, "AxillaryLymphadenopathy"),
    "cancer": (_LESION, "MalignantNeoplasmPrimary"),
    "finding": (_LESION, "Lesion"),
    "pectoral_muscle": (_ANATOMY, "PectoralisMajorMuscle"),
    "lymph_node": (_ANATOMY, "LymphNode"),
    "skin": (_ANATOMY, "Skin"),
    "nipple": (_ANATOMY, "Nipple"),
}
# Contours that a program refined: Lee et al. 2017, a local level set begun at the contour of DDSM
_REFINED = {("cbis", "mass"): "local level set (Lee et al. 2017)"}


@dataclass(frozen=True, slots=True)
class _Archive:
    """Where the source images of a dataset are; `radius`, of points, as its pairs were made."""

    source: Source
    radius: float
    year: str


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """The lesions of a pair on the raw grid."""

    lesions: tuple[PairLesion, ...]
    pixels: NDArray[Any]  # (1, rows, columns) of segment numbers, or a last axis of segments


def write(job: Job) -> None:
    """Write segmentations/CASE.dcm and segments.csv; needs highdicom and the source images.

    Raises UsageError for a dataset without DICOM images or without `--source`.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise missing("highdicom") from None
    archives = _archives(job)
    rows: list[dict[str, str]] = []
    background: list[str] = []

    def one(pair: Pair) -> None:
        if not pair.lesions:
            background.append(pair.case)
            return
        archive = archives[pair.dataset]
        header = _header(pair, archive.source)
        segments = _segments(pair, header, archive.radius)
        name = f"segmentations/{pair.case}.dcm"
        write_atomic(job.out / name, _file(pair, header, segments, archive.year))
        rows.extend(_rows(pair, name, segments))

    job.each(one)
    job.result.pairs -= len(background)
    write_atomic(job.out / TABLE, table_bytes(_COLUMNS, rows))
    if background:
        job.result.notes.append(f"{len(background)} background pairs have no segmentation")


def _archives(job: Job) -> dict[str, _Archive]:
    """Return the archive of each dataset; refuse, by name, those that cannot be exported."""
    images: dict[str, str] = {}
    for pair in job.cases:
        images.setdefault(pair.dataset, pair.row["source_image"])
    other = [name for name, image in images.items() if Path(image).suffix.lower() in _NOT_DICOM]
    if other:
        raise UsageError(
            f"the images of {', '.join(other)} are not DICOM",
            hint="name the pairs folder of one dataset (ROOT/inbreast), or select them first",
        )
    sources = {adapters.get(word).INFO.name: path for word, path in job.how.sources.items()}
    unknown, without = sorted(sources.keys() - images), sorted(images.keys() - sources)
    if unknown:
        raise UsageError(f"there are no pairs of {', '.join(unknown)} here", hint="--source")
    if without:
        raise UsageError(
            f"the source images of {', '.join(without)} are needed",
            hint=f"--source {without[0]}=PATH, the archive that the pairs were made of",
        )
    found = {}
    for folder in job.folders:
        if folder.name in images:
            options = folder.document().get("options", {})
            radius, year = float(options.get("point_radius", 0)), year_of(facts(folder))
            found[folder.name] = _Archive(open_source(sources[folder.name]), radius, year)
    return found


def _header(pair: Pair, source: Source) -> Header:
    """Return the header of the source image; raises RecordError if it is not the pair's."""
    name = pair.row["source_image"]
    data = read(source, name)
    if hashlib.sha256(data).hexdigest() != pair.row["source_sha256"]:
        raise RecordError("its source image is another one now", where=name)
    return read_header(data, name)


def _segments(pair: Pair, header: Header, radius: float) -> _Segments:
    """Return the lesions on the raw grid; raises RecordError where they are not the mask's."""
    lesions = pair.lesions
    lines = [lesion.line for lesion in lesions]
    size = raw_size(lines[0])
    if annotation_sha256(lines, radius) != pair.row["annotation_sha256"] or size != (
        header.rows,
        header.columns,
    ):
        raise RecordError("its lesions are not on the grid of the source")
    return _Segments(lesions, _pixels(lesions, size, radius))


def _pixels(lesions: tuple[PairLesion, ...], size: Size, radius: float) -> NDArray[Any]:
    """Return segment numbers a pixel, or where lesions overlap a plane a segment."""
    patches = [raw_patch(lesion.line, radius) for lesion in lesions]
    labels = np.zeros(size, np.uint16)
    overlap = False
    for number, patch in enumerate(patches, start=1):
        region = labels[patch.top : patch.bottom, patch.left : patch.right]
        overlap = overlap or bool(region[patch.pixels].any())
        region[patch.pixels] = number
    if not overlap:
        return labels[None]
    planes = np.zeros((1, *size, len(patches)), np.bool_)
    for number, patch in enumerate(patches):
        planes[0, patch.top : patch.bottom, patch.left : patch.right, number] = patch.pixels
    return planes


def _file(pair: Pair, header: Header, segments: _Segments, year: str) -> bytes:
    """Return the DICOM file; the same pair gives the same bytes."""
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian

    content = hashlib.sha256(np.ascontiguousarray(segments.pixels).tobytes()).hexdigest()
    base = f"{header.sop_instance_uid} {pair.case} {content} {__version__}"
    found = Segmentation(
        source_images=[_source_image(pair, header)],
        pixel_array=segments.pixels,
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(pair, lesion, number, base)
            for number, lesion in enumerate(segments.lesions, start=1)
        ],
        series_instance_uid=_uid(base, "series"),
        series_number=1000,
        sop_instance_uid=_uid(base, "instance"),
        instance_number=1,
        manufacturer="bcseg",
        manufacturer_model_name="bcseg export dicom-seg",
        software_versions=__version__,
        device_serial_number="0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="LESIONS",
        content_description=f"Lesions of {pair.case}"[:64],
        series_description="Lesions",
        content_date=f"{year}0101",
        content_time="000000",
    )
    _without_clock(found, base)
    found.PatientOrientation = _orientation(header)
    file = io.BytesIO()
    found.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _source_image(pair: Pair, header: Header) -> Any:
    """Return what a segmentation takes over from its image, and nothing more."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(header.transfer_syntax_uid)
    image.SOPClassUID = header.sop_class_uid
    image.SOPInstanceUID = header.sop_instance_uid
    image.SeriesInstanceUID = header.series_instance_uid
    image.StudyInstanceUID = header.study_instance_uid
    image.PatientID = header.patient_id or pair.row["patient_id"]  # the archive's pseudonym
    for empty in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, empty, "")
    image.StudyDate = image.StudyTime = None
    image.Modality = header.modality
    image.Rows, image.Columns = header.rows, header.columns
    return image  # without PixelSpacing: highdicom would write a sequence that it cannot read


def _orientation(header: Header) -> list[str]:
    """Return the directions of rows and columns; none where there is a view instead (CBIS-DDSM)."""
    found = header.patient_orientation.split("\\")
    return found if len(found) == 2 else []


def _description(pair: Pair, lesion: PairLesion, number: int, base: str) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    kind = lesion.row["kind"]
    if kind not in _CODES:
        raise RecordError(f"{kind} has no code in DICOM SEG")
    category, type_ = (getattr(codes.SCT, keyword) for keyword in _CODES[kind])
    refined = _REFINED.get((pair.dataset, kind))
    algorithm = refined and AlgorithmIdentificationSequence(
        name=refined, family=codes.cid7162.DeformableModels, version="unknown"
    )
    return SegmentDescription(
        segment_number=number,
        segment_label=f"{lesion.row['lesion_id']} {kind}"[:64],
        segmented_property_category=category,
        segmented_property_type=type_,
        algorithm_type="SEMIAUTOMATIC" if algorithm else "MANUAL",
        algorithm_identification=algorithm or None,
        tracking_id=f"{pair.case}/{lesion.row['lesion_id']}"[:64],
        tracking_uid=_uid(pair.case, lesion.row["lesion_id"]),
        anatomic_regions=[codes.SCT.Breast],
    )


def _without_clock(found: Any, base: str) -> None:
    """Take away what highdicom writes of the clock and of chance."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in found:
            delattr(found, keyword)
    for item in found.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    dimensions = _uid(base, "dimensions")
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in found.get(sequence, ()):
            item.DimensionOrganizationUID = dimensions


def _uid(*words: str) -> str:
    """Return a UID that depends on the words alone (PS3.5 B.2, UUID version 5)."""
    return f"2.25.{uuid.uuid5(_UIDS, ' '.join(words)).int}"


def _rows(pair: Pair, name: str, segments: _Segments) -> Iterable[dict[str, str]]:
    for number, lesion in enumerate(segments.lesions, start=1):
        yield {
            "case": pair.case,
            "file": name,
            "segment": str(number),
            "lesion_id": lesion.row["lesion_id"],
            "kind": lesion.row["kind"],
            "area_px": lesion.row["area_px"],
            "source_image": pair.row["source_image"],
            "sop_instance_uid": pair.row["sop_instance_uid"],
        }
