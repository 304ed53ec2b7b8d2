"""Bad input: a clear message (what, where, what to do), the right exit code, and nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections import Counter, namedtuple
from pathlib import Path

import cv2
import pytest

from archives import (
    FIVE,
    bcseg,
    codes,
    content,
    copy_of,
    document,
    everything,
    finished,
    original,
    own_dataset,
    pixels,
    rows,
)

each_dataset = pytest.mark.parametrize("dataset", FIVE)


@pytest.fixture
def refactor(run, tmp_path):
    """Run refactor into a new root; return exit code, pairs folder, stdout and stderr."""

    def command(dataset: str, source: object, *options: object) -> tuple[int, Path, str, str]:
        out = tmp_path / "out"
        if "-j" not in options:
            options = (*options, "-j", 1)
        code, text, err = run("refactor", dataset, source, "-o", out, *options)
        return code, out / dataset, text, err

    return command


def problem(folder: Path, code: str) -> dict[str, str]:
    """Return the one row of problems.csv with this code."""
    (row,) = [row for row in rows(folder, "problems.csv") if row["code"] == code]
    return row


def others_are_unchanged(folder: Path, dataset: str, *record_ids: str) -> bool:
    """Tell whether all pairs but these are those of the sound archive, and the numbers add up."""
    for counts in document(folder)["items"].values():
        assert counts["found"] == counts["written"] + counts["left_out"] + counts["failed"]
    sound, found = pictures(finished(dataset)), pictures(folder)
    expected = {name: data for name, data in sound.items() if Path(name).stem not in record_ids}
    return expected == {n: data for n, data in found.items() if Path(n).stem not in record_ids}


def pictures(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(folder).items() if name.endswith(".png")}


def first_pair(dataset: str) -> tuple[str, str]:
    """Return record id and source image of the first pair of a dataset."""
    row = rows(finished(dataset), "records.csv")[0]
    return row["record_id"], row["source_image"]


# ------------------------------------------------------------------------------ wrong source


@each_dataset
def test_an_empty_folder(refactor, dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    code, folder, out, err = refactor(dataset, tmp_path / "empty")
    assert (code, out) == (2, "")
    assert "there is no file in it" in err
    assert str(tmp_path / "empty") in err
    layout = adapters_layout(dataset)
    assert all(line in err for line in layout)
    assert not folder.parent.exists()


def adapters_layout(dataset: str) -> list[str]:
    from bcseg import adapters

    return adapters.get(dataset).INFO.layout.splitlines()


@pytest.mark.parametrize(("dataset", "resembled"), [(a, b) for a in FIVE for b in FIVE if a != b])
def test_the_archive_of_another_dataset(refactor, dataset, resembled):
    code, folder, out, err = refactor(dataset, original(resembled))
    assert (code, out) == (2, "")
    assert f"look like {resembled}: bcseg refactor {resembled}" in err
    assert all(line in err for line in adapters_layout(dataset))
    assert not folder.parent.exists()


def test_a_folder_of_holiday_pictures(refactor, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "beach.jpg").write_bytes(b"sand")
    code, folder, _, err = refactor("inbreast", tmp_path / "source")
    assert code == 2
    assert "INbreast archive that bcseg can read" in err
    assert "of its files look like" not in err
    assert not folder.parent.exists()


def test_a_path_that_is_not_there(refactor, tmp_path):
    code, _, _, err = refactor("inbreast", tmp_path / "nowhere")
    assert code == 2
    assert "no such folder or file" in err
    assert str(tmp_path / "nowhere") in err
    assert "try:" in err


def test_a_file_that_is_no_archive(refactor, tmp_path):
    (tmp_path / "thesis.pdf").write_bytes(b"%PDF")
    code, _, _, err = refactor("inbreast", tmp_path / "thesis.pdf")
    assert code == 2
    assert "neither a folder nor a zip or tar file" in err


def test_a_zip_that_was_not_downloaded_to_its_end(refactor, tmp_path):
    packed = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", original("cdd")))
    packed.write_bytes(packed.read_bytes()[:-2000])
    code, folder, _, err = refactor("cdd", packed)
    assert code == 2
    assert "damaged or incomplete" in err
    assert not folder.exists()


def test_an_unknown_dataset(refactor):
    code, _, _, err = refactor("inbrest", original("inbreast"))
    assert code == 2
    assert "do you mean 'inbreast'?" in err


def test_contours_are_missing_altogether(refactor, tmp_path):
    source = copy_of("inbreast", tmp_path / "source")
    shutil.rmtree(source / "INbreast Release 1.0" / "AllXML")
    code, _, _, err = refactor("inbreast", source)
    assert code == 2
    assert "no contour file" in err


# ------------------------------------------------------------------------------ wrong place


@pytest.mark.parametrize("inside", [".", "INbreast Release 1.0", "new/folder"])
def test_an_output_inside_the_source(run, tmp_path, inside):
    source = copy_of("inbreast", tmp_path / "source")
    before = everything(source)
    code, _, err = run("refactor", "inbreast", source, "-o", source / inside)
    assert code == 2
    assert "the output lies inside the source" in err
    assert everything(source) == before


def test_the_default_output_inside_the_source(run, tmp_path, monkeypatch):
    source = copy_of("inbreast", tmp_path / "source")
    before = everything(source)
    monkeypatch.chdir(source)
    monkeypatch.delenv("BCSEG_DATA", raising=False)
    code, _, err = run("refactor", "inbreast", ".")
    assert code == 2
    assert "inside the source" in err
    monkeypatch.setenv("BCSEG_DATA", str(source / "data"))
    assert run("refactor", "inbreast", source)[0] == 2
    assert everything(source) == before


def test_a_source_inside_the_output(run, tmp_path):
    source = copy_of("inbreast", tmp_path / "data" / "inbreast" / "raw")
    before = everything(source)
    for out in (tmp_path / "data", tmp_path / "data" / "inbreast"):
        code, _, err = run("refactor", "inbreast", source, "-o", out)
        assert code == 2
        assert "the source lies inside the output" in err
    assert everything(source) == before


def test_an_output_that_is_linked_into_the_source(run, tmp_path):
    source = copy_of("inbreast", tmp_path / "source")
    (tmp_path / "out").mkdir()
    (source / "pairs").mkdir()
    (tmp_path / "out" / "inbreast").symlink_to(source / "pairs")
    code, _, err = run("refactor", "inbreast", source, "-o", tmp_path / "out")
    assert code == 2
    assert "inside the source" in err
    assert not list((source / "pairs").iterdir())


def test_an_output_that_is_a_file(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = run("refactor", "cdd", original("cdd"), "-o", tmp_path / "file")
    assert code == 2
    assert "the output is a file" in err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cdd").write_text("mine")
    assert run("refactor", "cdd", original("cdd"), "-o", tmp_path / "out")[0] == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_that_cannot_be_written(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    code, _, err = run("refactor", "cdd", original("cdd"), "-o", tmp_path / "file" / "out")
    assert code == 2
    assert "cannot write to the output folder" in err
    assert "--out" in err

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("bcseg.store.os.link", refuse)
    monkeypatch.setattr("bcseg.store.Path.write_text", refuse)
    code, _, err = run("refactor", "cdd", original("cdd"), "-o", tmp_path / "out" / "deep")
    monkeypatch.undo()
    assert code == 2
    assert "Permission denied" in err
    assert not (tmp_path / "out").exists()


Usage = namedtuple("Usage", "total used free")


def test_a_disk_too_small(run, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**6, 10**6 - 1000, 1000))
    for options in ((), ("-n",)):
        code, out, err = run("refactor", "cbis", original("cbis"), "-o", tmp_path / "a/b", *options)
        assert (code, out) == (2, "")
        assert "the disk is too small" in err
        assert "--size" in err
        assert not (tmp_path / "a").exists()


def test_what_redo_throws_away_is_room(run, tmp_path, monkeypatch):
    shutil.copytree(finished("cbis").parent, tmp_path / "out")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**6, 10**6 - 1000, 1000))
    arguments = ("refactor", "cbis", original("cbis"), "-o", tmp_path / "out", "-j", 1, "--redo")
    code, _, err = run(*arguments, "--size", 64)
    assert code in (0, 2), err
    assert code == 0 or content(tmp_path / "out" / "cbis") == content(finished("cbis"))


def test_a_disk_that_fills_up(run, refactor, monkeypatch):
    """The record that does not fit fails; no half of its pair stays; the next run goes on."""
    write_bytes = Path.write_bytes
    record_id, _ = first_pair("cdd")

    def full(path: Path, data: bytes) -> int:
        if f"{record_id}.png" in path.name and path.parent.name == "masks":
            write_bytes(path, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    code, folder, _, err = refactor("cdd", original("cdd"))
    monkeypatch.undo()
    assert code == 1
    assert "No space left on device" in err
    assert problem(folder, "write_failed")["record_id"] == record_id
    assert others_are_unchanged(folder, "cdd", record_id)
    assert not [name for name in content(folder) if record_id in name]
    assert not list(folder.rglob("*.part"))
    assert refactor("cdd", original("cdd"))[0] == 0
    assert content(folder) == content(finished("cdd"))


def test_a_disk_without_room_for_the_tables(refactor, monkeypatch):
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "records.csv" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    code, folder, _, err = refactor("cdd", original("cdd"))
    monkeypatch.undo()
    assert code == 1
    assert "cannot write records.csv: No space left on device" in err
    assert not (folder / ".lock").exists()
    code, _, out, _ = refactor("cdd", original("cdd"), "--json")
    assert (code, json.loads(out)["fresh"]) == (0, 0)
    assert content(folder) == content(finished("cdd"))


# ------------------------------------------------------------------------------ damaged images


DAMAGE = {
    "truncated": lambda data: data[: len(data) * 6 // 10],
    "empty": lambda data: b"",
    "a web page": lambda data: b"<html><body>403 Forbidden</body></html>\n",
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGE)
@each_dataset
def test_a_damaged_image_fails_alone(refactor, dataset, damage, tmp_path):
    record_id, image = first_pair(dataset)
    source = copy_of(dataset, tmp_path / "source")
    (source / image).write_bytes(DAMAGE[damage]((source / image).read_bytes()))
    code, folder, _, err = refactor(dataset, source)
    assert code == 1
    failures = [row for row in rows(folder, "problems.csv") if row["severity"] == "failed"]
    (row,) = [row for row in failures if row["source"] == image]
    assert row["message"]
    assert row["code"] != "bug"
    assert record_id in err or image in err
    assert record_id not in {row["record_id"] for row in rows(folder, "records.csv")}
    assert others_are_unchanged(folder, dataset, record_id)
    assert document(folder)["items"]["images"]["failed"] == 1


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("dataset", ["cbis", "csaw"])
def test_a_damaged_mask_fails_its_record(refactor, dataset, damage, tmp_path):
    lesion = next(r for r in rows(finished(dataset), "lesions.csv") if r["in_mask"] == "1")
    source = copy_of(dataset, tmp_path / "source")
    mask = source / lesion["source"]
    mask.write_bytes(DAMAGE[damage](mask.read_bytes()))
    code, folder, _, _ = refactor(dataset, source)
    assert code == 1
    failures = [row for row in rows(folder, "problems.csv") if row["severity"] == "failed"]
    assert {"bug"}.isdisjoint(row["code"] for row in failures)
    assert lesion["source"] in " ".join(row["source"] + row["message"] for row in failures)
    assert others_are_unchanged(folder, dataset, lesion["record_id"])
    assert not (folder / "images" / f"{lesion['record_id']}.png").exists()


# ------------------------------------------------------------------------------ contours


def first_contours(dataset: str) -> tuple[str, str]:
    """Return record id and file of the first lesion of a dataset."""
    lesion = next(row for row in rows(finished(dataset), "lesions.csv") if row["in_mask"] == "1")
    return lesion["record_id"], lesion["source"].rsplit("#", 1)[0]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_contour_file_fails_its_record(refactor, damage, tmp_path):
    record_id, name = first_contours("inbreast")
    source = copy_of("inbreast", tmp_path / "source")
    (source / name).write_bytes(DAMAGE[damage]((source / name).read_bytes()))
    for option in ((), ("--partial", "--redo")):
        code, folder, _, _ = refactor("inbreast", source, *option)
        assert code == 1
        failures = [row for row in rows(folder, "problems.csv") if row["severity"] == "failed"]
        assert [(row["record_id"], row["source"]) for row in failures] == [(record_id, name)]
        assert others_are_unchanged(folder, "inbreast", record_id)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_bytes().decode()
    assert before in text, (path, before)
    path.write_bytes(text.replace(before, after, 1).encode())


def test_one_damaged_outline_of_a_table_fails_its_record(refactor, tmp_path):
    lesion = next(row for row in rows(finished("bcdr"), "lesions.csv") if "#1" in row["source"])
    source = copy_of("bcdr", tmp_path / "source")
    table = source / lesion["source"].rsplit("#", 1)[0]
    line = table.read_text().splitlines()[1]
    points = max(line.split(","), key=len)
    edit(table, points, points.replace(points.split()[3], "NaN?", 1))
    code, folder, _, _ = refactor("bcdr", source)
    assert code == 1
    row = problem(folder, "unreadable_contour")
    assert (row["record_id"], row["source"]) == (lesion["record_id"], lesion["source"])
    assert others_are_unchanged(folder, "bcdr", lesion["record_id"])


def test_one_damaged_shape_of_a_table_fails_its_record_or_is_left_away(refactor, tmp_path):
    lesions = rows(finished("cdd"), "lesions.csv")
    count = Counter(row["record_id"] for row in lesions)
    lesion = next(row for row in lesions if count[row["record_id"]] > 1)
    source = copy_of("cdd", tmp_path / "source")
    table, number = lesion["source"].rsplit("#", 1)
    lines = (source / table).read_text().splitlines(keepends=True)
    lines[int(number)] = lines[int(number)].replace(":", ";")
    (source / table).write_text("".join(lines))
    code, folder, _, _ = refactor("cdd", source)
    assert code == 1
    row = problem(folder, "unreadable_contour")
    assert (row["record_id"], row["source"]) == (lesion["record_id"], lesion["source"])
    assert others_are_unchanged(folder, "cdd", lesion["record_id"])

    code, folder, _, _ = refactor("cdd", source, "--partial", "--redo")
    assert code == 0
    row = problem(folder, "lesion_left_away")
    assert (row["severity"], row["record_id"]) == ("warning", lesion["record_id"])
    assert lesion["record_id"] in {row["record_id"] for row in rows(folder, "records.csv")}
    assert document(folder)["items"]["contours"]["left_out"]


@pytest.mark.parametrize("damage", ["empty", "a web page", "zeros"])
@pytest.mark.parametrize(
    ("dataset", "tables"),
    [("bcdr", "bcdr_*_outlines.csv"), ("cdd", "Radiology_hand_drawn_segmentations_v2.csv")],
)
def test_no_table_of_contours_can_be_read(refactor, dataset, tables, damage, tmp_path):
    source = copy_of(dataset, tmp_path / "source")
    for path in source.rglob(tables):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    code, folder, _, err = refactor(dataset, source)
    assert code == 2
    assert path.name.split("_")[0] in err
    assert "Traceback" not in err
    assert not folder.exists()


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("dataset", "table"),
    [("inbreast", "INbreast.csv"), ("cdd", "Radiology-manual-annotations.xlsx")],
)
def test_an_optional_table_that_cannot_be_read_costs_no_pair(
    refactor, dataset, table, damage, tmp_path
):
    source = copy_of(dataset, tmp_path / "source")
    path = next(source.rglob(table))
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    code, folder, _, _ = refactor(dataset, source)
    assert code in (0, 1)
    assert table in " ".join(row["source"] for row in rows(folder, "problems.csv"))
    assert others_are_unchanged(folder, dataset)


# ------------------------------------------------------------------------------ halves of pairs


def test_contours_without_image_are_left_out(refactor, tmp_path):
    record_id, image = first_pair("inbreast")
    source = copy_of("inbreast", tmp_path / "source")
    (source / image).unlink()
    code, folder, _, _ = refactor("inbreast", source)
    assert code == 0
    assert record_id in codes(folder, "left_out.csv")["no_image"]
    assert document(folder)["reasons"]["contours"]["left_out"]["no_image"]
    assert others_are_unchanged(folder, "inbreast", record_id)


def test_rows_without_image_are_left_out(refactor, tmp_path):
    record_id, image = first_pair("bcdr")
    source = copy_of("bcdr", tmp_path / "source")
    (source / image).unlink()
    code, folder, _, _ = refactor("bcdr", source)
    assert code == 0
    assert codes(folder, "left_out.csv")["no_image"] == [record_id]
    assert others_are_unchanged(folder, "bcdr", record_id)


@pytest.mark.parametrize("dataset", ["bcdr", "cdd", "csaw", "inbreast"])
def test_an_image_that_nothing_is_said_about_is_no_negative(refactor, dataset, tmp_path):
    _, image = first_pair(dataset)
    source = copy_of(dataset, tmp_path / "source")
    path = source / image
    numbers = {
        "bcdr": ("img_", "img_77"),
        "cdd": ("P", "P77"),
        "csaw": ("0", "7"),
        "inbreast": ("53", "77"),
    }
    new = path.with_name(path.name.replace(*numbers[dataset], 1))
    if dataset == "csaw":
        new = path.parent.with_name("777") / "777_0.png"
        new.parent.mkdir()
    shutil.copyfile(path, new)
    # the outlines of BCDR are one table: an image that it does not list has none
    more = () if dataset == "bcdr" else ("--with-empty", "--redo")
    for option in ((), more):
        code, folder, _, _ = refactor(dataset, source, *option)
        left_out = {row["source"] for row in rows(folder, "left_out.csv")}
        assert code == 0
        assert new.relative_to(source).as_posix() in left_out


def test_a_mask_of_another_size_is_resized_where_one_scale_fits(refactor, tmp_path):
    lesion = next(r for r in rows(finished("csaw"), "lesions.csv") if r["in_mask"] == "1")
    record_id = lesion["record_id"]
    source = copy_of("csaw", tmp_path / "source")
    mask = pixels(source / lesion["source"])
    height, width = mask.shape
    big = cv2.resize(mask, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(source / lesion["source"]), big)
    code, folder, _, _ = refactor("csaw", source)
    assert code == 0
    row = problem(folder, "mask_resized")
    assert (row["severity"], row["record_id"]) == ("warning", record_id)
    assert f"{2 * height} x {2 * width}" in row["message"]
    assert others_are_unchanged(folder, "csaw")


def test_a_mask_of_another_shape_fails_its_record(refactor, tmp_path):
    lesion = next(r for r in rows(finished("csaw"), "lesions.csv") if r["in_mask"] == "1")
    source = copy_of("csaw", tmp_path / "source")
    mask = pixels(source / lesion["source"])
    cv2.imwrite(str(source / lesion["source"]), mask[:-20])
    code, folder, _, _ = refactor("csaw", source)
    assert code == 1
    row = problem(folder, "mask_size")
    assert row["record_id"] == lesion["record_id"]
    assert f"{mask.shape[0] - 20} x {mask.shape[1]}" in row["message"]
    assert others_are_unchanged(folder, "csaw", lesion["record_id"])


# ------------------------------------------------------------------------------ two of one id


@pytest.mark.parametrize("dataset", ["bcdr", "cdd", "inbreast"])
def test_equal_copies_of_an_image_are_one(refactor, dataset, tmp_path):
    _, image = first_pair(dataset)
    source = copy_of(dataset, tmp_path / "source")
    copy = source / "zz again" / image
    copy.parent.mkdir(parents=True)
    shutil.copyfile(source / image, copy)
    code, folder, _, _ = refactor(dataset, source)
    assert code == 0
    assert f"zz again/{image}" in {
        row["source"] for row in rows(folder, "left_out.csv") if row["code"] == "duplicate_image"
    }
    assert others_are_unchanged(folder, dataset)
    code, _, out, _ = refactor(dataset, source, "--json")
    assert (code, json.loads(out)["fresh"]) == (0, 0)


@pytest.mark.parametrize("dataset", ["bcdr", "cdd", "inbreast"])
def test_two_different_images_of_one_id_fail(refactor, dataset, tmp_path):
    row = rows(finished(dataset), "records.csv")[0]
    record_id, image = row["record_id"], row["source_image"]
    other = next(r for r in rows(finished(dataset), "records.csv") if r["record_id"] != record_id)
    source = copy_of(dataset, tmp_path / "source")
    assert refactor(dataset, source)[0] == 0
    copy = source / "zz again" / image
    copy.parent.mkdir(parents=True)
    shutil.copyfile(source / other["source_image"], copy)
    # found on a second run, too: the pair was made when there was no rival
    code, folder, _, err = refactor(dataset, source)
    assert code == 1
    row = problem(folder, "conflicting_images")
    assert row["record_id"] == record_id
    assert image in row["message"]
    assert f"zz again/{image}" in row["message"]
    assert "take the wrong one away" in err
    assert document(folder)["items"]["images"]["failed"] == 2
    assert "duplicate_image" not in codes(folder, "left_out.csv")
    assert others_are_unchanged(folder, dataset, record_id)
    copy.unlink()
    assert refactor(dataset, source)[0] == 0
    assert content(folder) == content(finished(dataset))


# ------------------------------------------------------------------------------ moving targets


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen when the run opens a file for the first time after the index."""

    def arrange(wanted: str, happen) -> None:
        from bcseg.source import FolderSource

        real, done = FolderSource.open, []

        def open_(self, name: str):
            if name.endswith(wanted) and not done:
                done.append(True)
                happen()
            return real(self, name)

        monkeypatch.setattr(FolderSource, "open", open_)

    return arrange


def test_a_file_that_vanishes_fails_its_record(refactor, meanwhile, tmp_path):
    record_id, image = first_pair("inbreast")
    source = copy_of("inbreast", tmp_path / "source")
    meanwhile(image, (source / image).unlink)
    code, folder, _, err = refactor("inbreast", source)
    assert code == 1
    row = problem(folder, "unreadable")
    assert (row["record_id"], row["source"]) == (record_id, image)
    assert str(tmp_path) not in row["message"]
    assert record_id in err
    assert others_are_unchanged(folder, "inbreast", record_id)


def test_a_file_that_changes_fails_its_record_until_it_rests(refactor, meanwhile, tmp_path):
    record_id, image = first_pair("inbreast")
    source = copy_of("inbreast", tmp_path / "source")
    other = rows(finished("inbreast"), "records.csv")[1]["source_image"]
    meanwhile(image, lambda: shutil.copyfile(source / other, source / image))
    code, folder, _, _ = refactor("inbreast", source)
    assert code == 1
    assert problem(folder, "changed_while_read")["record_id"] == record_id
    assert others_are_unchanged(folder, "inbreast", record_id)
    assert refactor("inbreast", source)[0] == 0


@pytest.mark.parametrize("emptied", [False, True])
@pytest.mark.parametrize("dataset", ["bcdr", "inbreast"])
def test_a_source_that_goes_away(refactor, meanwhile, tmp_path, emptied, dataset):
    """Unmounted (an empty folder) or unplugged: the run stops, what is finished stays."""
    source = copy_of(dataset, tmp_path / "source")
    away = tmp_path / "away"
    second = rows(finished(dataset), "records.csv")[1]

    def unmount() -> None:
        source.rename(away)
        if emptied:
            source.mkdir()

    meanwhile(second["source_image"], unmount)
    code, folder, _, err = refactor(dataset, source)
    assert code == 1
    assert "the source went away" in err
    assert "run the same command" in err
    ids = [row["record_id"] for row in rows(folder, "records.csv")]
    assert ids == [rows(finished(dataset), "records.csv")[0]["record_id"]]
    late = codes(folder)["not_reached"]
    assert second["record_id"] in late
    assert len(pictures(folder)) == 2
    for counts in document(folder)["items"].values():
        assert counts["found"] == counts["written"] + counts["left_out"] + counts["failed"]

    code, _, _, err = refactor(dataset, source)
    assert code == 2, "not there from the beginning: nothing is touched"
    assert [row["record_id"] for row in rows(folder, "records.csv")] == ids
    shutil.rmtree(source, ignore_errors=True)
    away.rename(source)
    code, _, out, _ = refactor(dataset, source, "--json")
    assert (code, json.loads(out)["fresh"]) == (0, len(rows(finished(dataset), "records.csv")) - 1)
    assert content(folder) == content(finished(dataset))


def test_a_source_that_goes_away_takes_no_earlier_pair_along(refactor, meanwhile, tmp_path):
    """Only `--prune` deletes: pairs that were to be made again stay until they are."""
    source = copy_of("inbreast", tmp_path / "source")
    code, folder, _, _ = refactor("inbreast", source)
    assert code == 0
    for image in source.rglob("*.dcm"):
        os.utime(image, (1, 1))  # another file, for all that anybody knows
    second = rows(folder, "records.csv")[1]
    meanwhile(second["source_image"], lambda: source.rename(tmp_path / "away"))
    before = rows(folder, "records.csv")
    code, _, _, err = refactor("inbreast", source)
    assert code == 1
    assert "the source went away" in err
    assert rows(folder, "records.csv") == before
    assert set(codes(folder)["not_reached"]) >= {row["record_id"] for row in before[1:]}
    assert len(pictures(folder)) == 2 * len(before)
    (tmp_path / "away").rename(source)
    code, _, out, _ = refactor("inbreast", source, "--json")
    assert (code, json.loads(out)["fresh"]) == (0, len(before) - 1)
    assert content(folder) == content(finished("inbreast"))


# ------------------------------------------------------------------------------ bugs, crashes


@pytest.fixture
def mine(tmp_path):
    """Return a function that writes an adapter that does something bad at record 30."""
    return lambda bad: own_dataset(tmp_path, bad)


def run_mine(run, tmp_path, adapter: Path, source: Path, *options: object):
    out = tmp_path / "out"
    code, text, err = run("refactor", adapter, source, "-o", out, *options)
    return code, out / "mine", text, err


OTHERS = ["10", "20", "40", "50", "60"]


@pytest.mark.parametrize(
    ("bad", "jobs"),
    [
        ("record.lesion", 1),
        ("record.lesion", 2),
        ("return None", 1),
        ("return (1, 2)", 1),
        ("raise KeyError('/tmp/secret')", 1),
    ],
)
def test_a_bug_fails_its_record_and_leaves_a_traceback(run, mine, tmp_path, bad, jobs):
    code, folder, _, err = run_mine(run, tmp_path, *mine(bad), "-j", jobs)
    assert code == 1
    row = problem(folder, "bug")
    assert row["record_id"] == "30"
    assert "secret" not in row["message"]
    (log,) = (folder / "logs").iterdir()
    assert str(log) in err
    assert "Traceback" not in err
    assert "Traceback" in log.read_text()
    assert "mine.py" in log.read_text() or bad.startswith("return")
    assert [row["record_id"] for row in rows(folder, "records.csv")] == OTHERS
    assert document(folder)["items"]["mask files"] == {
        "found": 6,
        "written": 5,
        "left_out": 0,
        "failed": 1,
    }


def test_a_record_without_memory_fails_alone(run, mine, tmp_path):
    code, folder, _, err = run_mine(run, tmp_path, *mine("raise MemoryError"), "-j", 1)
    assert code == 1
    assert problem(folder, "out_of_memory")["record_id"] == "30"
    assert "--jobs 1" in err
    assert [row["record_id"] for row in rows(folder, "records.csv")] == OTHERS


def test_opencv_without_memory_is_no_bug(run, mine, tmp_path):
    bad = "import cv2, numpy; cv2.resize(numpy.zeros((9, 9), numpy.uint8), (2**30, 2**30))"
    code, folder, _, _ = run_mine(run, tmp_path, *mine(bad), "-j", 1)
    assert code == 1
    assert problem(folder, "out_of_memory")["record_id"] == "30"


def test_a_worker_that_dies_costs_its_record_only(run, mine, tmp_path):
    code, folder, _, err = run_mine(run, tmp_path, *mine("os._exit(3)"), "-j", 2)
    assert code == 1
    row = problem(folder, "worker_died")
    assert row["record_id"] == "30"
    assert "30" in err
    assert [row["record_id"] for row in rows(folder, "records.csv")] == OTHERS
    assert sorted(path.stem for path in (folder / "images").iterdir()) == OTHERS


def test_a_worker_that_dies_once_costs_nothing(run, mine, tmp_path):
    mark = tmp_path / "died"
    bad = f"died = Path({str(mark)!r}); died.exists() or (died.touch(), os._exit(3))"
    code, folder, _, err = run_mine(run, tmp_path, *mine(bad), "-j", 2)
    assert code == 0, err
    assert mark.exists()
    assert len(rows(folder, "records.csv")) == 6


def test_rows_of_a_table_are_not_lost_with_a_worker(tmp_path):
    """Whatever ends a record, its outlines are in the ledger: another table, another way in."""
    from bcseg import adapters, convert, plan
    from bcseg.ledger import Ledger
    from bcseg.outcome import Job
    from bcseg.settings import Settings
    from bcseg.source import open_source

    source = open_source(original("bcdr"))
    info = adapters.get("bcdr").INFO
    settings = Settings().for_dataset(info)
    index = plan.read_index(adapters.get("bcdr"), source, settings)
    ledger = Ledger()
    for record in index.records:
        ledger.add(convert.died(record, Job("bcdr", source, tmp_path, settings)).items)
    ledger.add_index(index, source.refused)
    assert ledger.close(source.names(), index.tables) == []
    assert ledger.counts()["images"]["failed"] == 6


def test_an_adapter_that_loses_a_row_fails_the_run(run, mine, tmp_path):
    adapter, source = mine("pass")
    (source / "t.csv").write_text("a\n1\n2\n")
    index = "for name in images)"
    adapter.write_text(adapter.read_text().replace(index, index + ', tables={"t.csv": 2}'))
    code, folder, _, err = run_mine(run, tmp_path, adapter, source)
    assert code == 1
    assert "2 table rows are unaccounted for (first: t.csv#1)" in err
    assert not (folder / "records.csv").exists()


def test_a_source_that_goes_away_from_two_workers(run, mine, tmp_path):
    """What workers had begun leaves nothing behind."""
    away = tmp_path / "away"
    adapter, source = mine("PLACE.rename(AWAY)")
    text = adapter.read_text()
    places = f"PLACE, AWAY = Path({str(source)!r}), Path({str(away)!r})\n"
    text = text.replace("INFO =", places + "INFO =")
    adapter.write_text(text)
    code, folder, _, err = run_mine(run, tmp_path, adapter, source, "-j", 2)
    assert code == 1
    assert "the source went away" in err
    written = [row["record_id"] for row in rows(folder, "records.csv")]
    late = codes(folder)["not_reached"]
    assert "30" in late
    assert sorted(written + late) == ["10", "20", "30", "40", "50", "60"]
    for part in ("images", "masks"):
        assert sorted(path.stem for path in (folder / part).glob("*")) == written
    assert document(folder)["items"]["images"] == {
        "found": 6,
        "written": len(written),
        "left_out": 0,
        "failed": len(late),
    }
    away.rename(source)
    adapter.write_text(text.replace("PLACE.rename(AWAY)", "pass"))
    from bcseg import adapters

    adapters._from_file.cache_clear()
    assert run_mine(run, tmp_path, adapter, source, "-j", 1)[0] == 0
    assert len(rows(folder, "records.csv")) == 6


def test_an_adapter_that_claims_one_id_twice(run, mine, tmp_path):
    adapter, source = mine("pass")
    text = adapter.read_text().replace("images)\n", "images * 2)\n", 1)
    adapter.write_text(text.replace("for name in images)", "for name in images * 2)"))
    code, folder, _, err = run_mine(run, tmp_path, adapter, source)
    assert code == 2
    assert "two images have the record id 10" in err
    assert not folder.exists()


# ------------------------------------------------------------------------------ hostile sources


def test_links_out_of_the_source_are_refused_by_name(refactor, tmp_path):
    record_id, image = first_pair("cdd")
    source = copy_of("cdd", tmp_path / "source")
    outside = tmp_path / "outside.jpg"
    (source / image).rename(outside)
    (source / image).symlink_to(outside)
    (source / "home").symlink_to(tmp_path)
    (source / "lost").symlink_to(tmp_path / "nowhere")
    code, folder, _, err = refactor("cdd", source)
    assert code == 1
    assert codes(folder)["link_out_of_source"] == [image, "home"]
    assert codes(folder)["broken_link"] == ["lost"]
    assert image in err
    assert others_are_unchanged(folder, "cdd", record_id)


def test_links_within_the_source_are_followed(refactor, tmp_path):
    """As git-annex and DataLad lay archives out."""
    _, image = first_pair("cdd")
    source = copy_of("cdd", tmp_path / "source")
    (source / "objects").mkdir()
    (source / image).rename(source / "objects" / "4711")
    (source / image).symlink_to(source / "objects" / "4711")
    code, folder, _, _ = refactor("cdd", source)
    assert code == 0
    assert others_are_unchanged(folder, "cdd")


def test_members_of_a_zip_that_cannot_be_read_are_named(refactor, tmp_path):
    record_id, image = first_pair("cdd")
    packed = tmp_path / "archive.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(original("cdd").rglob("*")):
            name = path.relative_to(original("cdd")).as_posix()
            if path.is_file() and name != image:
                file.write(path, name)
        file.writestr("../escape.jpg", b"?")
        file.writestr(image, (original("cdd") / image).read_bytes())
    data = bytearray(packed.read_bytes())
    start = data.rindex(b"PK\x01\x02")
    data[start + 8] |= 1  # the flag of encryption, in the central directory
    packed.write_bytes(bytes(data))
    code, folder, _, _ = refactor("cdd", packed)
    assert code == 1
    assert codes(folder)["encrypted_member"] == [image]
    assert codes(folder)["unsafe_name"] == ["../escape.jpg"]
    assert others_are_unchanged(folder, "cdd", record_id)
    assert not (tmp_path / "escape.jpg").exists()


def test_a_damaged_member_of_a_zip_fails_its_record(refactor, tmp_path):
    record_id, image = first_pair("cdd")
    packed = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", original("cdd")))
    with zipfile.ZipFile(packed) as file:
        place = file.getinfo(image).header_offset
    data = bytearray(packed.read_bytes())
    for offset in range(place + 200, place + 400):
        data[offset] ^= 0x5A
    packed.write_bytes(bytes(data))
    code, folder, _, _ = refactor("cdd", packed)
    assert code == 1
    row = problem(folder, "unreadable")
    assert (row["record_id"], row["source"]) == (record_id, image)
    assert others_are_unchanged(folder, "cdd", record_id)


def test_an_unreadable_subfolder_is_named(refactor, tmp_path, monkeypatch):
    source = copy_of("cdd", tmp_path / "source")
    real = os.scandir

    def refuse(path):
        if Path(path).name.startswith("Low energy"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("bcseg.source.folder.os.scandir", refuse)
    code, folder, _, err = refactor("cdd", source)
    monkeypatch.undo()
    assert code == 2
    assert "Low energy" in err
    assert "Permission denied" in err
    assert not folder.exists()


def test_a_file_without_permission_fails_its_record(refactor, tmp_path, monkeypatch):
    record_id, image = first_pair("cdd")
    source = copy_of("cdd", tmp_path / "source")
    real = Path.open

    def refuse(path, *rest, **more):
        if path.name == Path(image).name and source in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    code, folder, _, _ = refactor("cdd", source)
    monkeypatch.undo()
    assert code == 1
    row = problem(folder, "unreadable")
    assert (row["record_id"], row["source"]) == (record_id, image)
    assert "Permission denied" in row["message"]
    assert str(tmp_path) not in row["message"]
    assert others_are_unchanged(folder, "cdd", record_id)


def test_every_failure_has_a_message_a_place_and_no_path_of_this_machine(refactor, tmp_path):
    source = copy_of("csaw", tmp_path / "source")
    for number, path in enumerate(sorted(source.rglob("*_0*.png"))):
        if number % 3 == 0:
            path.write_bytes(path.read_bytes()[: 20 + number])
    code, folder, _, _ = refactor("csaw", source)
    assert code == 1
    for row in rows(folder, "problems.csv"):
        assert row["message"]
        assert (source / row["source"]).exists()
        assert str(tmp_path) not in "".join(row.values())
    assert bcseg("refactor", "csaw", original("csaw"), "-o", tmp_path / "out", "-j", 1) == 0
