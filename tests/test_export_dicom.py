"""`bcseg export dicom-seg`: the segments are the lesions on the grid of the source image."""

from __future__ import annotations

import csv
import shutil
import sys

import numpy as np
import pydicom
import pytest

from archives import content, copy_of, finished, original
from bcseg import raster
from bcseg.adapters import get
from bcseg.reading import read
from exporting import export, root_of

DICOM = ("cbis", "inbreast")
SOURCES = tuple(f"--source={name}={original(name)}" for name in DICOM)

pytest.importorskip("highdicom")


def segments_of(path):
    """Return the source image, and each segment with its pixels, as highdicom reads them."""
    from highdicom.seg import segread

    found = segread(path)
    (uids,) = found.get_source_image_uids()
    pixels = found.get_pixels_by_source_instance([uids[2]])[0]
    return found, uids[2], [pixels[..., number] > 0 for number in range(pixels.shape[-1])]


@pytest.mark.parametrize(
    "options", [(), ("--preset", "classic"), ("--kind", "lesions", "--size", "150", "--pad")]
)
def test_segments_are_the_lesions_that_the_archive_draws_on_its_image(run, tmp_path, options):
    root = root_of(tmp_path, *DICOM, options=options)
    export(run, "dicom-seg", root, tmp_path / "out", *SOURCES)
    seen = set()
    for pair in read(root):
        path = tmp_path / "out/segmentations" / f"{pair.case}.dcm"
        found, uid, masks = segments_of(path)
        source = pydicom.dcmread(original(pair.dataset) / pair.row["source_image"])
        assert uid == source.SOPInstanceUID == pair.row["sop_instance_uid"]
        assert {mask.shape for mask in masks} == {(source.Rows, source.Columns)}
        assert len(masks) == len(pair.lesions)
        for mask, lesion in zip(masks, pair.lesions, strict=True):
            assert int(mask.sum()) == int(lesion.row["area_px"])
        patches = [raster.patch_of(mask) for mask in masks]
        union = raster.union_sha256(patches, (source.Rows, source.Columns))
        assert union == pair.row["annotation_sha256"]
        assert [one.SegmentLabel.split()[-1] for one in found.SegmentSequence] == [
            lesion.row["kind"] for lesion in pair.lesions
        ]
        seen.add(pair.dataset)
    assert seen == {*DICOM}


def test_segments_say_what_they_are_and_how_they_were_drawn(run, tmp_path):
    root = root_of(tmp_path, *DICOM, options=("--kind", "lesions"))
    export(run, "dicom-seg", root, tmp_path / "out", *SOURCES)
    codes = {"mass": "129788004", "calcification": "309587003", "cluster": "129769006"}
    seen = set()
    for pair in read(root):
        found, _, _ = segments_of(tmp_path / "out/segmentations" / f"{pair.case}.dcm")
        for segment, lesion in zip(found.SegmentSequence, pair.lesions, strict=True):
            kind = lesion.row["kind"]
            assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == codes.get(
                kind, segment.SegmentedPropertyTypeCodeSequence[0].CodeValue
            )
            refined = (pair.dataset, kind) == ("cbis", "mass")
            expected = "SEMIAUTOMATIC" if refined else "MANUAL"
            assert segment.SegmentAlgorithmType == expected
            seen.add((pair.dataset, kind))
    assert {("cbis", "mass"), ("inbreast", "mass"), ("inbreast", "calcification")} <= seen
    with (tmp_path / "out/segments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(pair.lesions) for pair in read(root))


def test_nothing_of_a_person_or_a_clock_goes_in(run, tmp_path):
    archive = copy_of("inbreast", tmp_path / "archive")
    secrets = {
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "PatientBirthDate": "19500102",
        "StudyDate": "20090807",
        "AccessionNumber": "A815",
        "ReferringPhysicianName": "Roe^Richard",
        "InstitutionName": "General Hospital",
        "StudyID": "S1623",
        "PatientOrientation": ["A", "R"],
    }
    for path in archive.rglob("*.dcm"):
        image = pydicom.dcmread(path)
        for keyword, value in secrets.items():
            setattr(image, keyword, value)
        image.save_as(path)
    assert run("refactor", "inbreast", archive, "-o", tmp_path / "root", "-j", "1")[0] == 0
    source = f"--source=inbreast={archive}"
    for name in ("one", "two"):
        export(run, "dicom-seg", tmp_path / "root", tmp_path / name, source)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    files = sorted((tmp_path / "one/segmentations").iterdir())
    assert files
    for path in files:
        data = path.read_bytes()
        for keyword, value in secrets.items():
            assert keyword == "PatientOrientation" or value.encode() not in data
        found = pydicom.dcmread(path)
        assert list(found.PatientOrientation) == ["A", "R"]
        assert found.PatientID == read(tmp_path / "root")[files.index(path)].row["patient_id"]
        assert not found.PatientName


def test_datasets_without_dicom_images_are_refused_by_name(run, tmp_path):
    root = root_of(tmp_path, "inbreast", "csaw", "bcdr")
    code, _, err = run("export", "dicom-seg", root, "-o", tmp_path / "out", *SOURCES)
    assert (code, "the images of bcdr, csaw are not DICOM" in err) == (2, True)
    for options, message in (
        ((), "the source images of inbreast are needed"),
        (SOURCES, "there are no pairs of cbis here"),
        (("--source=inbreast",), "is not NAME=PATH"),
    ):
        code, _, err = run(
            "export", "dicom-seg", root / "inbreast", "-o", tmp_path / "out", *options
        )
        assert (code, message in err) == (2, True), err
    assert not (tmp_path / "out").exists()


def test_another_image_than_that_of_the_pair_fails_by_name(run, tmp_path):
    archive = copy_of("inbreast", tmp_path / "archive")
    root = root_of(tmp_path, "inbreast")
    first, *rest = read(root)
    path = archive / first.row["source_image"]
    path.write_bytes(path.read_bytes()[:-2] + b"\1\1")
    source = f"--source=inbreast={archive}"
    code, out, _ = run("export", "dicom-seg", root, "-o", tmp_path / "out", source)
    assert code == 1
    assert f"failed {first.case}: its source image is another one now" in out
    names = {path.stem for path in (tmp_path / "out/segmentations").iterdir()}
    assert names == {pair.case for pair in rest}


def test_background_pairs_have_no_segmentation(run, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(finished("inbreast", "--with-empty=force"), root / "inbreast")
    empty = [pair.case for pair in read(root) if not pair.lesions]
    assert empty
    text, err = export(run, "dicom-seg", root, tmp_path / "out", SOURCES[1])
    assert f"{len(empty)} background pairs have no segmentation" in err
    assert f"{len(read(root)) - len(empty)} pairs" in text
    assert not {path.stem for path in (tmp_path / "out/segmentations").iterdir()} & {*empty}


def test_a_missing_library_names_its_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    root = root_of(tmp_path, "inbreast")
    code, _, err = run("export", "dicom-seg", root, "-o", tmp_path / "out", SOURCES[1])
    assert (code, "bcseg[dicom-seg]" in err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_every_lesion_kind_has_a_code_that_dicom_knows():
    from pydicom.sr.codedict import codes

    from bcseg.export.dicom_seg import _CODES
    from bcseg.record import LESION_KINDS

    assert {*LESION_KINDS} <= _CODES.keys()
    for category, type_ in _CODES.values():
        assert getattr(codes.SCT, category).value
        assert getattr(codes.SCT, type_).value
    assert np.all([kind in _CODES for kind in get("inbreast").INFO.default_kinds])
