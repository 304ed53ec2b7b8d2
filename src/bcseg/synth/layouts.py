"""The other layouts in which users hold the archives, made from the released one.

`LAYOUTS` names those of every dataset, the default first:

    bcdr      sets      the sets as released
              flat      BCDR/patient_3_study_4_img_3_4_1_LO.tif with the tables of all sets beside
              png       BCDR/AllPNGs/patient_3_study_4_img_3_4_1_LO.png, the tables in BCDR
    inbreast  release   as released
              renamed   folders in lower case with underscores
              bare      AllDICOMs/20586908.dcm: patients are lost
              png       AllPNGs/<name>.png or <name>.dcm.png, 16 bit: no pixel spacing
    csaw      release   as released
              zip       one zip that holds CSAW-S/CSAW-S/CsawS
    cbis      B, A, B-old, C, D, E: see cbis_layouts
    ddsm      release   as released
              png       B_9002_1.LEFT_CC.png in the place of the LJPEG files (made by ddsm.py)
    mias      kaggle    all-mias/mdb001.pgm, Info.txt above it
              flat      all in one folder
              png       all-mias/mdb001.png
    vindr     release   as released
              png       images/<study_id>/<image_id>.png, 16 bit: no pixel spacing
    cdd       release   as released
              flat      both image folders in one folder `images`
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bcseg.synth import cbis_layouts, ddsm
from bcseg.synth.documents import files_below
from bcseg.synth.phantom import Built, encoded, write_bytes

LAYOUTS: dict[str, tuple[str, ...]] = {
    "bcdr": ("sets", "flat", "png"),
    "cbis": cbis_layouts.LAYOUTS,
    "cdd": ("release", "flat"),
    "csaw": ("release", "zip"),
    "ddsm": ddsm.LAYOUTS,
    "inbreast": ("release", "renamed", "bare", "png"),
    "mias": ("kaggle", "flat", "png"),
    "vindr": ("release", "png"),
}


def rearrange(dataset: str, layout: str, built: Built) -> Built:
    """Move the files of a released archive to where a layout has them; return it with new sources.

    Files that come to have one name must be the same file.
    """
    rename = _NAMES[dataset, layout]
    for name in files_below(built.root):
        _move(built.root, name, rename(name))
    for folder in sorted(built.root.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    truths = tuple(replace(truth, source=rename(truth.source)) for truth in built.truths)
    return replace(built, truths=truths)


def _move(root: Path, name: str, target: str) -> None:
    if target == name:
        return
    if target.endswith(".png") and not name.endswith(".png"):
        write_bytes(root / target, _as_png(root / name))
        (root / name).unlink()
        return
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    (root / name).replace(root / target)


def _as_png(path: Path) -> bytes:
    """Return a TIFF or DICOM image as a PNG of the same depth."""
    if path.suffix == ".tif":
        import tifffile

        return encoded(tifffile.imread(path), ".png")
    if path.suffix == ".pgm":
        import cv2

        return encoded(np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)), ".png")
    import pydicom

    return encoded(np.asarray(pydicom.dcmread(path).pixel_array), ".png")


_TIFF = re.compile(r".*/(patient_\d+)/(study_\d+)/(img_\w+)\.tif")
_DICOM = re.compile(r"(.*/)AllDICOMs/((\d+)_\w+)\.dcm")


def _bcdr_flat(name: str) -> str:
    match = _TIFF.fullmatch(name)
    leaf = name.rsplit("/", 1)[-1]
    return f"BCDR/{match[1]}_{match[2]}_{match[3]}.tif" if match else f"BCDR/{leaf}"


def _bcdr_png(name: str) -> str:
    flat = _bcdr_flat(name)
    if not flat.endswith(".tif"):
        return flat
    return flat.replace("BCDR/", "BCDR/AllPNGs/", 1).removesuffix(".tif") + ".png"


def _inbreast_renamed(name: str) -> str:
    folder, _, leaf = name.rpartition("/")
    return f"{folder.lower().replace(' ', '_')}/{leaf}"


def _inbreast_bare(name: str) -> str:
    return _DICOM.sub(r"\1AllDICOMs/\3.dcm", name)


def _inbreast_png(name: str) -> str:
    match = _DICOM.fullmatch(name)
    if not match:
        return name
    ending = ".dcm.png" if int(match[3]) % 2 else ".png"  # both are in use
    return f"{match[1]}AllPNGs/{match[2]}{ending}"


def _csaw_nested(name: str) -> str:
    return f"CSAW-S/CSAW-S/{name}"


def _mias_flat(name: str) -> str:
    return f"MIAS/{name.rsplit('/', 1)[-1]}"


def _mias_png(name: str) -> str:
    return name.replace(".pgm", ".png")


def _vindr_png(name: str) -> str:
    return name.replace(".dicom", ".png")


def _cdd_flat(name: str) -> str:
    return f"images/{name.rsplit('/', 1)[-1]}" if name.endswith(".jpg") else name


# layouts that need no move are not here
_NAMES: dict[tuple[str, str], Callable[[str], str]] = {
    ("bcdr", "flat"): _bcdr_flat,
    ("bcdr", "png"): _bcdr_png,
    ("cdd", "flat"): _cdd_flat,
    ("csaw", "zip"): _csaw_nested,
    ("mias", "flat"): _mias_flat,
    ("mias", "png"): _mias_png,
    ("vindr", "png"): _vindr_png,
    ("inbreast", "renamed"): _inbreast_renamed,
    ("inbreast", "bare"): _inbreast_bare,
    ("inbreast", "png"): _inbreast_png,
}


def is_moved(dataset: str, layout: str) -> bool:
    """Tell whether a layout is made from the released one by moving its files."""
    return (dataset, layout) in _NAMES
