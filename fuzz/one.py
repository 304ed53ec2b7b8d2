"""Fuzz one target: `python one.py TARGET CORPUS [libFuzzer options]`, guided by coverage.

Without atheris (it has no build for the newest Python) inputs are mutated blindly.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time
import warnings
from pathlib import Path

# what coverage is measured of: to measure all would take half a minute to begin
_WATCHED = ("bcseg.formats", "bcseg.source", "bcseg.cells", "bcseg.raster", "bcseg.select.manifest")
_LIBRARIES = {
    "osirix": ("plistlib",),
    "via": ("json",),
    "xlsx": ("zipfile", "openpyxl.reader", "openpyxl.worksheet._reader", "openpyxl.cell"),
    "xls": ("xlrd",),
    "dicom": ("pydicom.filereader", "pydicom.values", "pydicom.dataelem", "pydicom.valuerep"),
    "tiff": ("tifffile",),
    "zip": ("zipfile",),
    "tar": ("tarfile",),
}
_PIECES = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"=", b",", b'"', b"\n", b"<")


def _guided(name: str, arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(
        include=[*_WATCHED, *_LIBRARIES.get(name, ())], enable_loader_override=False
    ):
        from targets import checked

        target = checked(name)
    warnings.simplefilter("ignore")
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


def _blind(name: str, folder: Path, seconds: float) -> None:
    from targets import checked

    warnings.simplefilter("ignore")
    target, rng = checked(name), random.Random(0)
    seeds = [path.read_bytes() for path in sorted(folder.iterdir())]
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 8)):
            _mutate(rng, data)
        count += 1
        target(bytes(data))
    print(f"stat::number_of_executed_units: {count}", file=sys.stderr)


def _mutate(rng: random.Random, data: bytearray) -> None:
    place = rng.randrange(len(data) + 1)
    match rng.randrange(4):
        case 0 if place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        case 1:
            data[place:place] = rng.choice(_PIECES)
        case 2:
            del data[place : place + rng.randint(1, 64)]
        case _:
            data[place : place + 4] = rng.choice(_PIECES)


def main() -> None:
    """Fuzz the target named on the command line."""
    name, *arguments = sys.argv[1:]
    if importlib.util.find_spec("atheris"):
        _guided(name, arguments)
        return
    options = dict(one.lstrip("-").split("=", 1) for one in arguments if one.startswith("-"))
    folder = next(Path(one) for one in arguments if not one.startswith("-"))
    _blind(name, folder, float(options.get("max_total_time", 60)))


if __name__ == "__main__":
    main()
