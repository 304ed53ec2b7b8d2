"""The archives that are measured: synthetic, of real size, kept between runs; and their pairs."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg import raster, synth
from bcseg.conversion import Run, refactor
from bcseg.pairs import LESIONS, PairsFolder
from bcseg.preprocessing import Options
from bcseg.record import Size
from bcseg.settings import Settings

DATASETS = ("inbreast", "cbis", "bcdr", "csaw", "cdd")
WARM_UP = "warm-up"  # the same archives, tiny: what loads modules before the clock starts


@dataclass(frozen=True)
class Lesion:
    """A lesion of a pair: its pixels, and what a script would draw them from.

    `corner`: (top, left) of `pixels`. `file`: a raster of the archive, "" for an outline.
    """

    chosen: bool
    file: str
    shape: Mapping[str, Any]
    corner: tuple[int, int]
    pixels: NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """What a conversion starts from: the image file, and the lesions on its grid."""

    name: str
    image: Path
    root: Path
    size: Size
    lesions: tuple[Lesion, ...]

    @property
    def rasters(self) -> list[Path]:
        """Every mask file, once."""
        files = dict.fromkeys(one.file for one in self.lesions if one.file)
        return [self.root / name for name in files]

    def mask(self) -> NDArray[np.uint8]:
        """Return the union of the chosen lesions, 0 and 255."""
        mask = np.zeros(self.size, np.uint8)
        for one in self.lesions:
            if one.chosen and one.pixels.size:
                (top, left), (height, width) = one.corner, one.pixels.shape
                mask[top : top + height, left : left + width] |= one.pixels.view(np.uint8) * 255
        return mask


def archive(data: Path, dataset: str, *, images: int, scale: float, name: str = "") -> Path:
    """Return a synthetic archive of that many images, built if it is not there yet."""
    folder = data / (name or f"{dataset}-{images}-{scale:g}")
    if not folder.is_dir():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        synth.build(dataset, part, images=images, scale=scale)
        part.replace(folder)
    return folder


def many(data: Path, count: int) -> Path:
    """Return a CDD-CESM archive of `count` small pairs: a few images under ever new patients."""
    folder = data / f"many-{count}"
    if folder.is_dir():
        return folder
    base = archive(data, "cdd", images=60, scale=0.1)
    table = next(base.rglob("*hand_drawn*.csv"))
    header, *lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    rows: dict[str, list[str]] = {}
    for line in lines:
        rows.setdefault(line.split(",", 1)[0], []).append(line)
    images = {path.name: path for path in base.rglob("*_DM_*.jpg") if path.name in rows}
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    place = part / next(iter(images.values())).parent.relative_to(base)
    place.mkdir(parents=True)
    with (part / table.name).open("w", encoding="utf-8") as file:
        file.write(header)
        names = sorted(images)
        for number in range(count):
            name = names[number % len(names)]
            patient, rest = name[1:].split("_", 1)
            new = f"P{int(patient) + 10_000 * (1 + number // len(images))}_{rest}"
            shutil.copyfile(images[name], place / new)
            file.writelines(line.replace(name, new, 1) for line in rows[name])
    part.replace(folder)
    return folder


def warm_up(data: Path, dataset: str) -> Path:
    """Return the tiny archive of a dataset."""
    return archive(data, dataset, images=6, scale=0.1, name=f"{WARM_UP}-{dataset}")


def pairs_of(source: Path, dataset: str) -> list[Pair]:
    """Return the pairs that bcseg makes of an archive: all contenders work on the same ones."""
    kept = source.with_name(source.name + ".pairs")
    if not kept.is_file():
        output = source.with_name(source.name + ".raw")
        shutil.rmtree(output, ignore_errors=True)
        refactor(dataset, source, output, Settings(pixels=Options(preset="raw")), Run(jobs=1))
        found = _pairs_in(PairsFolder(output / dataset), source)
        part = kept.with_name(kept.name + ".part")
        part.write_bytes(pickle.dumps(found))
        part.replace(kept)
        shutil.rmtree(output)
    found: list[Pair] = pickle.loads(kept.read_bytes())
    return found


def _pairs_in(folder: PairsFolder, source: Path) -> list[Pair]:
    files = {(row["record_id"], row["lesion_id"]): row["source"] for row in folder.rows(LESIONS)}
    lesions: dict[str, list[Lesion]] = {}
    for line in folder.archive():
        size = tuple(line["rle"]["size"])
        patch = raster.patch_from_rle(line["rle"]["counts"], size)
        file = files[line["record_id"], line["lesion_id"]] if "raster" in line else ""
        lesion = Lesion(
            line["in_mask"], file, line.get("shape", {}), (patch.top, patch.left), patch.pixels
        )
        lesions.setdefault(line["record_id"], []).append(lesion)
    return [
        Pair(
            row["record_id"],
            source / row["source_image"],
            source,
            (int(row["height"]), int(row["width"])),
            tuple(lesions[row["record_id"]]),
        )
        for row in folder.rows("records.csv")
    ]


def describe(pairs: list[Pair]) -> dict[str, float]:
    """Return what the report says about an archive: means of its pairs."""
    return {
        "pairs": len(pairs),
        "megapixels": float(np.mean([pair.size[0] * pair.size[1] / 1e6 for pair in pairs])),
        "rasters": float(np.mean([len(pair.rasters) for pair in pairs])),
    }


@contextmanager
def scratch(data: Path) -> Iterator[Path]:
    """Give an empty folder on the disk of the archives, for as long as it is needed."""
    folder = Path(tempfile.mkdtemp(dir=data, prefix="out-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
