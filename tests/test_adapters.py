"""One suite for every adapter: the contract, on synthetic archives in the raw layout."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
import shapely
from scipy.interpolate import CubicSpline

from bcseg import adapters, pairs, synth
from bcseg.adapters.base import (
    ReadOptions,
    ending,
    highest_birads,
    pathology_word,
    stem,
    worst_pathology,
)
from bcseg.cli import main
from bcseg.errors import ArchiveError, UsageError
from bcseg.ledger import Ledger, unprocessed_items
from bcseg.record import KINDS, Index, Lesion, Record
from bcseg.source import open_source, read
from bcseg.synth import Built

DATASETS = ["bcdr", "cbis", "cdd", "csaw", "ddsm", "inbreast", "mias", "vindr"]
IMAGES = {"bcdr": 8, "cdd": 12, "inbreast": 7, "vindr": 8}  # all peculiarities; others 6
ALL_KINDS = frozenset(KINDS)
# every lesion of every image
EVERYTHING = {"cdd": {"image_type": "all"}, "csaw": {"annotator": "all"}}

_built: dict[str, Built] = {}


# ------------------------------------------------------------------- shared by the test files


@pytest.mark.parametrize(
    "name",
    [
        "a/b.c/d.DCM",
        "x.tar.gz",
        "noend",
        "a.b/noend",
        ".hidden",
        "a/.hidden.png",
        "..x",
        "a b .tif ",
    ],
)
def test_stem_and_ending_are_those_of_pathlib(name):
    path = PurePosixPath(name)
    assert (stem(name), ending(name)) == (path.stem.strip(), path.suffix.strip().lower())


def archive(factory, dataset: str) -> Built:
    """Return the synthetic archive of a dataset: one for the whole session, to be left as it is."""
    key = f"{factory.getbasetemp()}/{dataset}"
    if key not in _built:
        root = factory.mktemp("archive") / dataset
        _built[key] = synth.build(dataset, root, images=IMAGES.get(dataset, 6), scale=0.1)
    return _built[key]


def copy_of(factory, dataset: str, place: Path) -> Path:
    """Copy the archive of a dataset, to be changed."""
    return Path(shutil.copytree(archive(factory, dataset).root, place))


def index_of(dataset: str, location: Path, **options) -> Index:
    """Return what the adapter finds, with every kind chosen unless said otherwise."""
    chosen = ReadOptions(**{"kinds": ALL_KINDS} | options)
    return adapters.get(dataset).index(open_source(location), chosen)


def records_of(dataset: str, location: Path, **options) -> dict[str, Record]:
    return {record.record_id: record for record in index_of(dataset, location, **options).records}


def lesions_of(dataset: str, location: Path, record: Record, **options) -> dict[str, Lesion]:
    """Return the lesions of a record by id, as a worker reads them."""
    source = open_source(location)
    chosen = ReadOptions(**{"kinds": ALL_KINDS} | options)
    found = adapters.get(dataset).lesions(record, lambda name: read(source, name), chosen)
    return {lesion.lesion_id: lesion for lesion in found}


class Output:
    """A pairs folder, and what making it printed."""

    def __init__(self, folder: Path, code: int, printed: str = "") -> None:
        self.folder, self.code, self.printed = folder, code, printed

    def rows(self, table: str) -> list[dict[str, str]]:
        return pairs.PairsFolder(self.folder).rows(table)

    @property
    def records(self) -> dict[str, dict[str, str]]:
        return {row["record_id"]: row for row in self.rows(pairs.RECORDS)}

    @property
    def lesions(self) -> dict[tuple[str, str], dict[str, str]]:
        return {(row["record_id"], row["lesion_id"]): row for row in self.rows(pairs.LESIONS)}

    @property
    def left_out(self) -> dict[str, set[str]]:
        """Record id -> codes, of records that were not written."""
        found: dict[str, set[str]] = {}
        for row in self.rows(pairs.LEFT_OUT):
            found.setdefault(row["record_id"], set()).add(row["code"])
        return {record: codes for record, codes in found.items() if record not in self.records}

    @property
    def failed(self) -> dict[str, str]:
        rows = self.rows(pairs.PROBLEMS)
        return {row["record_id"]: row["code"] for row in rows if row["severity"] == "failed"}

    def codes(self, table: str = pairs.PROBLEMS) -> set[str]:
        return {row["code"] for row in self.rows(table)}

    def items(self) -> dict[str, dict[str, int]]:
        return json.loads((self.folder / pairs.DATASET).read_text(encoding="utf-8"))["items"]

    def image(self, record_id: str) -> np.ndarray:
        return read_png(self.folder / "images" / f"{record_id}.png")

    def mask(self, record_id: str) -> np.ndarray:
        return read_png(self.folder / "masks" / f"{record_id}.png") > 0


def read_png(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels


def convert(dataset: str, source: Path, out: Path, *options: object) -> Output:
    """Convert an archive with `bcseg refactor`: raw grid, in this process."""
    words = ["refactor", dataset, source, "-o", out, "--preset", "raw", "-j", 1, "-q", *options]
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return Output(out / dataset, int(stop.value.code or 0))


def every_kind(*others: str) -> list[str]:
    """Return the options that choose every kind of lesion, and some other kinds."""
    return [word for kind in ("lesions", *others) for word in ("--kind", kind)]


def moved(source: Path, place: Path, rename) -> Path:
    """Copy a folder; `rename` gives each file, named relative to it, its new name."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            target = place / rename(path.relative_to(source).as_posix())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return place


def delete(root: Path, pattern: str) -> int:
    """Delete the files whose relative name matches a regular expression; return how many."""
    names = [path for path in root.rglob("*") if path.is_file()]
    found = [path for path in names if re.search(pattern, path.relative_to(root).as_posix())]
    for path in found:
        path.unlink()
    return len(found)


def replace_in(path: Path, old: str, new: str, *, count: int = 1) -> None:
    """Replace text in a file where it must occur."""
    text = path.read_bytes().decode("utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_bytes(text.replace(old, new, count).encode("utf-8"))


# ------------------------------------------------------------------------------ facts, names


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_facts_are_complete(dataset):
    info = adapters.ADAPTERS[dataset].INFO
    assert info.name == dataset
    assert info.title
    assert info.url.startswith("https://")
    assert len(info.licence) > 5
    assert re.search(r"\(\d{4}\)", info.citation)
    assert info.published
    assert all(count > 0 for count in info.published.values())
    assert info.default_kinds
    assert set(info.default_kinds) <= set(KINDS)
    assert set(info.options) <= {"image_type", "annotator", "osirix_origin", "merge_twins"}
    lines = info.layout.splitlines()
    assert adapters.ADAPTERS[dataset].claims(lines) >= min(2, len(lines))


def test_the_registry_is_alphabetical_and_complete():
    assert list(adapters.ADAPTERS) == DATASETS


@pytest.mark.parametrize(
    ("word", "dataset"),
    [
        ("csaw-s", "csaw"),
        ("CBIS-DDSM", "cbis"),
        ("cdd-cesm", "cdd"),
        ("INbreast", "inbreast"),
        ("VinDr-Mammo", "vindr"),
        ("mini-mias", "mias"),
    ],
)
def test_other_names_of_a_dataset(word, dataset):
    assert adapters.get(word) is adapters.ADAPTERS[dataset]


def test_an_unknown_dataset_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="inbreast"):
        adapters.get("inbrest")


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_files_of_an_archive_are_recognised(dataset, tmp_path_factory):
    names = open_source(archive(tmp_path_factory, dataset).root).names()
    assert next(iter(adapters.resembles(names))) == dataset


# ------------------------------------------------------------------------------ the index


@pytest.mark.parametrize("dataset", DATASETS)
def test_records_are_unique_safe_in_order_and_name_files_that_exist(dataset, tmp_path_factory):
    root = archive(tmp_path_factory, dataset).root
    names = set(open_source(root).names())
    index = index_of(dataset, root)
    ids = [record.record_id for record in index.records]
    assert ids == sorted(set(ids))
    assert len(ids) == len([r for r in index.records if r.image]) > 0
    for record in index.records:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", record.record_id)
        assert {record.image, *record.annotations, *(name for name, _ in record.others)} <= names
        assert record.group == "" or record.group.startswith(f"{dataset}:")
        for lesion in record.lesions:
            assert set(getattr(lesion.shape, "files", ())) <= names
            assert lesion.source.split("#")[0].split("[")[0] in names
    assert set(index.documents) <= names


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_index_pickles_and_is_the_same_twice(dataset, tmp_path_factory):
    root = archive(tmp_path_factory, dataset).root
    first, second = index_of(dataset, root), index_of(dataset, root)
    assert first == second
    assert pickle.loads(pickle.dumps(first)) == first
    assert repr(first) == repr(second)


def claims_of(index: Index, records: list[Record]) -> Counter[str]:
    """Return how often each file and each table row is claimed."""
    counts: Counter[str] = Counter(index.documents)
    for group in (*index.left_out, *index.failed):
        counts.update(group.items)
    for record in records:
        counts.update({name for _, name, _, _ in unprocessed_items(record, "written", "")})
    return counts


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_file_and_row_is_claimed_exactly_once(dataset, tmp_path_factory):
    root = archive(tmp_path_factory, dataset).root
    source = open_source(root)
    index = index_of(dataset, root)
    claims = claims_of(index, list(index.records))
    rows = [f"{table}#{n}" for table, size in index.tables.items() for n in range(1, size + 1)]
    assert rows or dataset == "csaw"
    assert [item for item in (*source.names(), *rows) if claims[item] != 1] == []
    ledger = Ledger()
    for record in index.records:
        ledger.add(unprocessed_items(record, "written", ""))
    ledger.add_index(index, source.refused)
    assert list(ledger.close(source.names(), index.tables)) == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_stranger_s_file_is_claimed_by_nobody(dataset, tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, dataset, tmp_path / "copy")
    before = index_of(dataset, root)
    (root / "thumbs.db").write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".tif", ".dcm", ".jpg", ".png", ".xml"):
            (root / "__MACOSX" / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert index_of(dataset, root) == before


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_empty_folder_is_refused(dataset, tmp_path):
    with pytest.raises(ArchiveError, match=r"no (image|full mammogram)"):
        index_of(dataset, tmp_path)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("other", DATASETS)
def test_another_dataset_is_refused(dataset, other, tmp_path_factory):
    if dataset == other:
        assert index_of(dataset, archive(tmp_path_factory, other).root).records
        return
    with pytest.raises(ArchiveError, match=r"no (image|full mammogram)"):
        index_of(dataset, archive(tmp_path_factory, other).root)


def test_the_command_says_which_dataset_it_looks_like(tmp_path_factory, tmp_path, run):
    root = archive(tmp_path_factory, "inbreast").root
    code, _, err = run("refactor", "bcdr", root, "-o", tmp_path / "out")
    assert code == 2
    assert "bcseg refactor inbreast" in err
    assert not (tmp_path / "out").exists()


PARTS = [
    ("bcdr", r"\.tif$", "no image named like img_3_4_1_LO.tif"),
    ("bcdr", r"_outlines\.csv$", "outlines"),
    ("bcdr", r"\.csv$", "outlines"),
    ("cbis", r"full mammogram images", "no full mammogram"),
    ("cbis", r"(ROI mask|cropped) images", "no ROI mask"),
    ("cdd", r"\.jpg$", "no image named like P1_L_DM_MLO.jpg"),
    ("cdd", r"segmentations_v2\.csv$", "no table of regions"),
    ("csaw", r"/\d+_\d+\.png$", "no image named like"),
    ("csaw", r"/\d+_\d+_.+\.png$", "no mask named like"),
    ("ddsm", r"\.LJPEG$", "no image named like"),
    ("ddsm", r"\.(OVERLAY|ics)$", "no outline named like"),
    ("inbreast", r"\.dcm$", "no image named like"),
    ("inbreast", r"AllXML/", "no contour file named like"),
    ("mias", r"\.pgm$", "no image named like"),
    ("mias", r"Info\.txt$", "no table of circles"),
    ("vindr", r"\.dicom$", "no image named like"),
    ("vindr", r"finding_annotations\.csv$", "no table of boxes"),
]


@pytest.mark.parametrize(("dataset", "pattern", "message"), PARTS)
def test_an_archive_without_a_needed_part_is_refused(
    dataset, pattern, message, tmp_path_factory, tmp_path
):
    root = copy_of(tmp_path_factory, dataset, tmp_path / "copy")
    assert delete(root, pattern) > 0
    with pytest.raises(ArchiveError, match=message):
        index_of(dataset, root)


VINDR = "3d2e9e3d7db397198f50d67c5c1ee398"  # L CC of the first examination

# one file taken away: (what, which records lose their image or a lesion)
SINGLE = [
    ("bcdr", r"img_3_4_1_LCC\.tif$", "patient_3_study_4_img_3_4_1_LCC"),
    ("cbis", r"Mass-Training_P_90001_LEFT_CC/.*full mammogram", "Mass-Training_P_90001_LEFT_CC"),
    ("cdd", r"P2_R_DM_CC\.jpg$", "P2_R_DM_CC"),
    ("csaw", r"^CsawS/anonymized_dataset/012/012_0\.png$", "train_012_0"),
    ("ddsm", r"A_9001_1\.LEFT_CC\.LJPEG$", "A_9001_1_LEFT_CC"),
    ("inbreast", r"53100127_.*\.dcm$", "53100127"),
    ("mias", r"mdb002\.pgm$", "mdb002"),
    ("vindr", f"{VINDR}\\.dicom$", VINDR),
]


@pytest.mark.parametrize(("dataset", "pattern", "record_id"), SINGLE)
def test_a_missing_image_leaves_out_its_record_and_changes_no_other(
    dataset, pattern, record_id, tmp_path_factory, tmp_path
):
    root = copy_of(tmp_path_factory, dataset, tmp_path / "copy")
    before = records_of(dataset, root)
    assert delete(root, pattern) == 1
    after = records_of(dataset, root)
    assert after[record_id].left_out == "no_image"
    assert after[record_id].image == ""
    assert {k: v for k, v in after.items() if k != record_id} == {
        k: v for k, v in before.items() if k != record_id
    }


@pytest.mark.parametrize(("dataset", "pattern", "record_id"), SINGLE)
def test_a_missing_image_is_no_error_of_the_run(
    dataset, pattern, record_id, tmp_path_factory, tmp_path
):
    root = copy_of(tmp_path_factory, dataset, tmp_path / "copy")
    delete(root, pattern)
    done = convert(dataset, root, tmp_path / "out")
    assert done.code == 0
    assert "no_image" in done.left_out[record_id]
    assert record_id not in done.records
    assert done.records


# ------------------------------------------------------------------------------ other places


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_zip_gives_the_same_records_as_its_folder(dataset, tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, dataset).root
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as packed:
        for path in sorted(root.rglob("*")):
            packed.write(path, path.relative_to(root).as_posix())
    assert index_of(dataset, tmp_path / "archive.zip") == index_of(dataset, root)


def _nested(name: str) -> str:
    return f"Downloads/some archive/{name}"


def _renamed_top(name: str) -> str:
    top, slash, rest = name.partition("/")
    number = sum(top.encode()) % 97  # folders that differ stay apart
    return f"part {number}/{rest}" if slash else top


def _upper_case(name: str) -> str:
    path = PurePosixPath(name)
    return (PurePosixPath(str(path.parent).upper()) / path.name).as_posix()


def _underscores(name: str) -> str:
    path = PurePosixPath(name)
    return (PurePosixPath(str(path.parent).replace(" ", "_")) / path.name).as_posix()


@pytest.mark.parametrize("rename", [_nested, _renamed_top, _upper_case, _underscores])
@pytest.mark.parametrize("dataset", DATASETS)
def test_renamed_folders_change_no_record(dataset, rename, tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, dataset).root
    other = moved(root, tmp_path / "moved", rename)
    before, after = records_of(dataset, root), records_of(dataset, other)
    assert list(after) == list(before)
    for record_id, record in after.items():
        old = before[record_id]
        assert record.image == rename(old.image)
        assert record.left_out == old.left_out
        assert (record.group, record.split, record.film) == (old.group, old.split, old.film)
        assert [lesion.lesion_id for lesion in record.lesions] == [
            lesion.lesion_id for lesion in old.lesions
        ]
        assert len(record.annotations) == len(old.annotations)
        assert len(record.rows) == len(old.rows)


# ------------------------------------------------------------------------------ what is written


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a function: the archive of a dataset, converted once with all its lesions."""
    known: dict[str, Output] = {}

    def get(dataset: str) -> Output:
        if dataset not in known:
            others = {
                "csaw": [k for k in KINDS if k != "pectoral_muscle"],
                "vindr": ["skin", "nipple"],
            }
            kinds = every_kind("pectoral_muscle", *others.get(dataset, ()))
            options = [
                word
                for key, value in EVERYTHING.get(dataset, {}).items()
                for word in (f"--{key.replace('_', '-')}", value)
            ]
            root = archive(tmp_path_factory, dataset).root
            place = tmp_path_factory.mktemp("written")
            known[dataset] = convert(dataset, root, place, "--masks", "lesion", *kinds, *options)
        return known[dataset]

    return get


def truths_of(factory, dataset: str) -> dict[tuple[str, str], synth.Truth]:
    """Return what the builder drew, by record id and lesion id."""
    found = {}
    for truth in archive(factory, dataset).truths:
        record = truth.record + (f"_a{truth.annotator}" if dataset == "csaw" else "")
        found[record, "m0" if truth.lesion_id == "muscle" else truth.lesion_id] = truth
    return found


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_written_lesions_are_those_that_were_drawn(dataset, tmp_path_factory, written):
    done = written(dataset)
    assert (done.code, done.failed) == (0, {})
    truths = truths_of(tmp_path_factory, dataset)
    assert set(done.lesions) == set(truths)
    for key, row in done.lesions.items():
        truth = truths[key]
        label = truth.label if dataset != "bcdr" else row["label"]
        assert (row["kind"], row["geometry"], row["label"], row["in_mask"]) == (
            truth.kind,
            truth.geometry,
            label,
            "1",
        ), key
        assert Path(row["source"].split("#")[0]).suffix in {
            ".csv",
            ".xml",
            ".png",
            ".dcm",
            ".txt",
            ".OVERLAY",
        }
        assert row["source"].split("#")[0] == truth.source or truth.source in row["source"], key


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_numbers_of_every_item_add_up(dataset, tmp_path_factory, written):
    items = written(dataset).items()
    for counts in items.values():
        assert counts["found"] == counts["written"] + counts["left_out"] + counts["failed"]
    files = len(open_source(archive(tmp_path_factory, dataset).root).names())
    assert sum(counts["found"] for counts in items.values()) >= files
    assert items["images"]["found"] == archive(tmp_path_factory, dataset).images


@pytest.mark.parametrize("dataset", ["cbis", "csaw"])
def test_masks_are_the_archive_s_own_pixel_by_pixel(dataset, tmp_path_factory, written):
    done = written(dataset)
    for (record, lesion), truth in truths_of(tmp_path_factory, dataset).items():
        name = f"{done.folder}/lesions/{record}/{lesion}-{truth.kind}.png"
        mask = read_png(Path(name))
        assert set(np.unique(mask)) == {0, 255}
        assert np.array_equal(mask > 0, truth.mask), name


def outline_of(truth: synth.Truth, size: tuple[int, int], shift: float) -> shapely.Geometry:
    """Return the exact region of a truth, within the image; pixel centres are whole numbers."""
    rows, columns = size
    points = np.array(truth.points) - shift
    if truth.source == "Info.txt":
        points[0][1] = 1023 - points[0][1]  # y counts from the lowest row
    if truth.geometry in ("ellipse", "circle"):
        turn = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
        circle = np.column_stack([np.cos(turn), np.sin(turn)]) * (1 + 1e-6)  # its edge belongs
        points = points[0] + circle * points[1]
    if truth.geometry == "spline":
        ring = np.vstack([points, points[:1]])
        way = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
        points = CubicSpline(way, ring, bc_type="periodic")(np.linspace(0, way[-1], 5000))
    if truth.kind == "pectoral_muscle":  # closed through the corner above the chest wall
        top, wall = points[np.argmin(points[:, 1])], points[np.argmax(points[:, 1])]
        points = np.vstack([points, [(wall[0], top[1])]])
    image = shapely.box(-0.5, -0.5, columns - 0.5, rows - 0.5)
    region = shapely.make_valid(shapely.Polygon(points)).intersection(image)
    shapely.prepare(region)
    return region


def pixels_of(region: shapely.Geometry, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centre is inside, where left and top edges belong to the region."""
    left, top, right, bottom = (int(value) for value in region.bounds)
    across, down = np.meshgrid(
        np.arange(max(left - 1, 0), right + 2), np.arange(max(top - 1, 0), bottom + 2)
    )
    inside = shapely.contains_xy(region, across + 1e-7, down + 1e-9)
    mask = np.zeros((size[0] + 2, size[1] + 2), bool)
    mask[down[inside], across[inside]] = True
    return mask[: size[0], : size[1]]


@pytest.mark.parametrize("dataset", ["bcdr", "cdd", "ddsm", "inbreast", "mias", "vindr"])
def test_masks_are_the_drawn_outlines(dataset, tmp_path_factory, written):
    done = written(dataset)
    shift = 0.5 if dataset == "inbreast" else 0.0  # its files count pixel corners
    seen = Counter()
    for (record, lesion), truth in truths_of(tmp_path_factory, dataset).items():
        mask = read_png(done.folder / f"lesions/{record}/{lesion}-{truth.kind}.png") > 0
        row, column = np.nonzero(mask)
        assert int(done.lesions[record, lesion]["area_px"]) == len(row) > 0
        seen[truth.geometry] += 1
        if truth.geometry == "points":
            x, y = np.array(truth.points[0]) - shift
            assert (list(column), list(row)) == ([np.floor(x + 0.5)], [np.floor(y + 0.5)])
            continue
        region = outline_of(truth, mask.shape, shift)
        wrong = np.count_nonzero(mask ^ pixels_of(region, mask.shape))
        # a spline is drawn here with other steps than there: a pixel or two on the very edge
        allowed = 0.02 * region.length if truth.geometry == "spline" else 0
        assert wrong <= allowed, (record, lesion, wrong)
    assert len(seen) >= (4 if dataset in ("cdd", "inbreast") else 1)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_mask_of_a_record_is_the_union_of_its_lesions(dataset, written):
    done = written(dataset)
    for record_id in done.records:
        parts = sorted((done.folder / "lesions" / record_id).iterdir())
        union = np.any([read_png(path) > 0 for path in parts], axis=0)
        assert np.array_equal(done.mask(record_id), union)
        assert done.image(record_id).shape == union.shape


# ------------------------------------------------------------------------------ shared words


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Malign ", "malignant"),
        ("MALIGNANT", "malignant"),
        ("benign", "benign"),
        ("BENIGN_WITHOUT_CALLBACK", "benign_without_callback"),
        ("Benign without callback", "benign_without_callback"),
        ("Normal", "normal"),
        ("", ""),
    ],
)
def test_pathology_words(text, word):
    assert pathology_word(text) == word


def test_the_worst_pathology_and_the_highest_birads():
    assert worst_pathology(["normal", "", "benign", "malignant"]) == "malignant"
    assert worst_pathology(["benign_without_callback", "benign"]) == "benign"
    assert worst_pathology(["", ""]) == ""
    assert highest_birads(["4", "4c", "4a", "", "0"]) == "4c"
    assert highest_birads(["2", "6", "5"]) == "6"
    assert highest_birads(["0", "1"]) == "1"


# ------------------------------------------------------------------------------ one's own adapter


OWN = '''
"""Circles of somebody's own."""

from bcseg.adapters.base import Info, listed_lesions
from bcseg.errors import ArchiveError
from bcseg.record import Circle, Index, Lesion, Record

INFO = Info(
    name="own", title="Own", url="https://example.org", licence="mine", citation="Me (2024).",
    restricted=True, layout="a.png", published={"images": 1},
)
lesions = listed_lesions


def claims(names):
    return sum(name.endswith(".png") for name in names)


def index(source, options):
    images = [name for name in source.names() if name.endswith(".png")]
    if not images:
        raise ArchiveError("no image", where=str(source.location))
    return Index(records=tuple(
        Record(record_id=name[:-4], image=name, lesions=(
            Lesion(
                lesion_id="1", kind="mass", label="", shape=Circle(20, 10, 5), source=name + "#1"
            ),
        ))
        for name in images
    ))
'''


def test_an_adapter_of_one_s_own_is_taken_by_its_path(tmp_path):
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "original").mkdir()
    cv2.imwrite(str(tmp_path / "original" / "a.png"), np.full((30, 50), 7, np.uint8))
    with pytest.raises(SystemExit) as stop:
        main(
            [
                *("refactor", str(tmp_path / "own.py"), str(tmp_path / "original")),
                *("-o", str(tmp_path / "out"), "-j", "1", "-q", "--preset", "raw"),
            ]
        )
    done = Output(tmp_path / "out" / "own", int(stop.value.code or 0))
    assert done.code == 0
    rows, columns = np.nonzero(done.mask("a"))
    assert (columns.mean(), rows.mean(), len(rows)) == (20, 10, 81)


def test_a_file_that_is_no_adapter_is_refused(tmp_path):
    (tmp_path / "own.py").write_text("INFO = 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no claims, index, lesions"):
        adapters.get(str(tmp_path / "own.py"))
    with pytest.raises(UsageError, match="no such adapter file"):
        adapters.get(str(tmp_path / "other.py"))
