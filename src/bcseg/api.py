"""The Python interface: what the commands do, as functions of plain values.

Options have the names that `dataset.json` gives them: `preset`, `kinds`, `size`, `spacing_mm`, ...
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bcseg import adapters, conversion, raster
from bcseg.adapters.base import ReadOptions
from bcseg.errors import RecordError, UsageError
from bcseg.formats.images import decode
from bcseg.preprocessing import Options
from bcseg.preprocessing import preprocess as _preprocess
from bcseg.record import Image, Point, Polygon, Record, Size, VectorShape
from bcseg.run import Run, Summary
from bcseg.settings import Settings, chosen_kinds, settings_of
from bcseg.source import open_source, read

_FILM = {"cbis", "ddsm", "mias"}  # archives of scanned film alone

_Values = TypeVar("_Values", ReadOptions, Options, Settings, Run)


def records(dataset: str, source: str | Path, **options: Any) -> Iterator[Record]:
    """Yield the records of an archive with their lesions, sorted by id; no pixel is decoded.

    `dataset`: a name, or the path of an adapter. `options`: of ReadOptions, as `kinds`. A record
    whose contours cannot be read has none, and says so in its `warnings`. Raises ArchiveError if
    the archive is not one of this dataset, UsageError for options that it does not have.
    """
    adapter = adapters.get(dataset)
    place = open_source(Path(source))
    wanted = Settings(read=_made(ReadOptions, options)).for_dataset(adapter.INFO).read
    index = adapter.index(place, wanted)
    for record in sorted(index.records, key=lambda one: one.record_id):
        try:
            lesions = adapter.lesions(record, lambda name: read(place, name), wanted)
        except RecordError as error:
            warning = (error.code, str(error.args[0]))
            yield replace(record, lesions=(), warnings=(*record.warnings, warning))
        else:
            yield replace(record, lesions=tuple(lesions))


def refactor(dataset: str, source: str | Path, root: str | Path, **options: Any) -> Summary:
    """Convert an archive into `root`/<dataset>, as `bcseg refactor` does; run again to continue.

    `options`: those of ReadOptions (`kinds`, ...), of the pixels (`preset`, `size`, ...), `masks`,
    `with_empty`, `partial`, `point_radius`, and of the run (`jobs`, `limit`, `redo`, `progress`,
    ...). Raises UsageError and ArchiveError before anything is written; bad records do not raise:
    they are in the `failures` of what is returned.
    """
    kinds = options.pop("kinds", ())
    parts: dict[str, dict[str, Any]] = {"read": {}, "pixels": {}, "own": {}, "run": {}}
    homes = {"run": Run, "own": Settings, "pixels": Options, "read": ReadOptions}
    known = {one.name: part for part, kind in homes.items() for one in fields(kind)}
    for name, value in options.items():
        parts[known.get(name, "read")][name] = value
    settings = Settings(
        read=_made(ReadOptions, parts["read"] | {"kinds": chosen_kinds(_words(kinds))}),
        pixels=_made(Options, parts["pixels"]),
        **parts["own"],
    )
    return conversion.refactor(dataset, Path(source), Path(root), settings, Run(**parts["run"]))


def _words(kinds: str | Iterable[str]) -> Iterable[str]:
    return kinds.split() if isinstance(kinds, str) else kinds


def _made(kind: type[_Values], options: Mapping[str, Any]) -> _Values:
    names = [one.name for one in fields(kind)]
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise UsageError(
                f"no option is called {name!r}" + (f": do you mean {near[0]!r}?" if near else "")
            )
    values = dict(options)
    if "kinds" in values:
        values["kinds"] = frozenset(_words(values["kinds"]))
    return kind(**values)


def rasterise(
    shape: VectorShape | Sequence[Point],
    size: Size,
    *,
    spacing_mm: tuple[float, float] | None = None,
    point_radius: float = 0.0,
) -> NDArray[np.bool_]:
    """Return the pixels of a shape, or of a polygon given by its points: bool (rows, columns).

    A pixel belongs to a contour if its centre lies inside; (0, 0) is the centre of the first one.
    What lies outside the image is clipped. Raises RecordError for coordinates that are no numbers.
    """
    if isinstance(shape, Sequence):
        shape = Polygon(tuple((float(x), float(y)) for x, y in shape))
    drawing = raster.draw(shape, size, spacing_mm=spacing_mm, point_radius=point_radius)
    return raster.paint([drawing.patch], size) > 0


def preprocess(
    image: NDArray[Any] | str | Path,
    dataset_json: str | Path | Mapping[str, Any],
    *,
    film: bool | None = None,
    spacing_mm: float | None = None,
) -> NDArray[Any]:
    """Return an image without a label as the images of a pairs folder were treated.

    `image`: uint8, uint16 or int16 (rows, columns), or a file (DICOM, PNG, TIFF, JPEG, PGM, BMP):
    of a DICOM file the modality LUT, padding and photometric interpretation are heeded, as in the
    archive. `dataset_json`: of the pairs folder, or its content. `film`: scanned film, of which
    "clean" zeroes labels; None: as in the archive (say it for the F sets of BCDR).
    Raises UsageError for a dataset.json that cannot be read, RecordError for an image that cannot
    be treated.
    """
    document = _document(dataset_json)
    options = settings_of(document.get("options", {})).pixels
    if isinstance(image, str | Path):
        content = decode(Path(image).read_bytes(), str(image))
    else:
        content = Image(image, bits_stored=8 * image.dtype.itemsize)
    is_film = document.get("dataset") in _FILM if film is None else film
    return _preprocess(content, options, film=is_film, spacing_mm=spacing_mm).pixels


def _document(given: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    try:
        document = json.loads(Path(given).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the document cannot be read ({error})", where=str(given)) from error
    if not isinstance(document, dict):
        raise UsageError("this is no dataset.json", where=str(given))
    return document
