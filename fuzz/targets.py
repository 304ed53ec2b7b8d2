"""One target for each reader: bytes in; an error that bcseg announces, or a sound result, out.

Whatever else a target raises is a finding, and so is more than 10 seconds or 1 GB.
"""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from bcseg import cells
from bcseg.errors import BcsegError, RecordError
from bcseg.formats.dicom import read_header
from bcseg.formats.identity import identifiable_tags
from bcseg.formats.images import decode, image_size
from bcseg.formats.osirix import read_regions
from bcseg.formats.tables import Table, read_csv, read_xls, read_xlsx
from bcseg.formats.via import read_shape
from bcseg.limits import Limits
from bcseg.pairs import PROBLEMS, problem_row, read_rows, table_bytes
from bcseg.raster import draw, refuse_too_much
from bcseg.record import Polygon, Spline
from bcseg.select.manifest import read_manifest
from bcseg.source import Source, open_source, read

Target = Callable[[bytes], None]

SIZE = (64, 48)
LIMITS = Limits(pixels=1_000_000, points=2_000, members=500, file_bytes=1 << 22)
_place = Path(tempfile.mkdtemp(prefix="bcseg-fuzz-"))


def osirix(data: bytes) -> None:
    """Contour files, and the drawing of their points."""
    for region in read_regions(data, "x.xml", LIMITS):
        assert bool(region.points) != bool(region.damage)
        if region.points:
            shape = Spline(region.points, region.area_cm2)
            refuse_too_much([shape], SIZE, LIMITS)
            assert draw(shape, SIZE, spacing_mm=(0.1, 0.1)).patch.area >= 0


def via(data: bytes) -> None:
    """Cells of the region table of CDD-CESM."""
    shape = read_shape(data.decode(errors="surrogateescape"), "t.csv#1", LIMITS)
    if shape is not None:
        refuse_too_much([shape], SIZE, LIMITS)
        draw(shape, SIZE)


def csv_file(data: bytes) -> None:
    """Tables of an archive, and what becomes of their cells in ours."""
    table = read_csv(data, "t.csv")
    for text in [*table.headers, *_texts(table)][:20]:
        cell = cells.safe_cell(text)
        assert cells.plain_cell(cell) == text
        assert not cell.startswith(("=", "@", "\t", "\r"))
    messages = [" ".join(text.split()) for text in _texts(table)[:20]]
    rows = [problem_row("cdd", "", "failed", "bug", text, "") for text in messages]
    path = _place / "problems.csv"
    path.write_bytes(table_bytes(PROBLEMS, rows))
    if all(text.isprintable() for text in messages):
        assert read_rows(path, strict=True) == rows
    outline = _texts(table)[:1]
    if outline and len(outline[0]) < 10_000:
        words = [word for word in outline[0].split() if word.isdecimal() and len(word) < 99]
        numbers = list(map(float, words))
        points = tuple(zip(numbers[::2], numbers[1::2], strict=False))
        if points:
            refuse_too_much([Polygon(points)], SIZE, LIMITS)
            draw(Polygon(points), SIZE)


def _texts(table: Table) -> list[str]:
    return [cell for row in table.rows[:50] for cell in row.cells.values()]


def xlsx(data: bytes) -> None:
    """New workbooks."""
    read_xlsx(data, "b.xlsx", "all")


def xls(data: bytes) -> None:
    """Old workbooks."""
    read_xls(data, "b.xls")


def dicom(data: bytes) -> None:
    """Headers, identifying tags and pixels of DICOM files."""
    for look in (lambda: read_header(data, "x.dcm"), lambda: _image(data)):
        try:
            look()
        except RecordError:
            continue
    identifiable_tags(io.BytesIO(data))


def png(data: bytes) -> None:
    """PNG files with right checksums."""
    _image(_with_checksums(data))


def _with_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums: else nothing behind them is ever reached."""
    fixed, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        body = data[place + 4 : place + 8 + length]
        fixed += data[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(fixed) + data[place:]


def jpeg(data: bytes) -> None:
    """JPEG files."""
    _image(data)


def tiff(data: bytes) -> None:
    """TIFF files."""
    _image(data)


def _image(data: bytes) -> None:
    size = None
    with contextlib.suppress(RecordError):
        size = image_size(data, "x")
    image = decode(data, "x", max_pixels=LIMITS.pixels)
    assert image.pixels.ndim == 2
    assert 0 < image.pixels.size <= LIMITS.pixels
    assert image.pixels.dtype.name in ("uint8", "uint16", "int16")
    assert size in (None, image.size)


def manifest(data: bytes) -> None:
    """Manifests of `select`."""
    path = _place / "manifest.csv"
    path.write_bytes(data)
    for row in read_manifest(path).rows:
        assert isinstance(row.name, str)


def zip_file(data: bytes) -> None:
    """Zip files read in place."""
    _source(data, ".zip")


def tar_file(data: bytes) -> None:
    """Tars, unpacked."""
    _source(data, ".tar")


def _source(data: bytes, ending: str) -> None:
    path = _place / f"archive{ending}"
    path.write_bytes(data)
    with tempfile.TemporaryDirectory(dir=_place) as folder:
        before = sorted(one.name for one in _place.iterdir())
        try:
            source = open_source(path, unpack_to=Path(folder) / "out", limits=LIMITS)
            _read_all(source)
        finally:
            assert sorted(one.name for one in _place.iterdir()) == before
            assert {one.name for one in Path(folder).iterdir()} <= {"out"}


def _read_all(source: Source) -> None:
    for shown, reason in source.refused:
        assert shown.isprintable()
        assert reason
    for name in source.names():
        assert ".." not in name.split("/")
        assert not name.startswith("/")
        try:
            assert len(read(source, name)) <= LIMITS.file_bytes
        except RecordError:
            continue


TARGETS: dict[str, Target] = {
    "osirix": osirix,
    "via": via,
    "csv": csv_file,
    "xlsx": xlsx,
    "xls": xls,
    "dicom": dicom,
    "png": png,
    "jpeg": jpeg,
    "tiff": tiff,
    "manifest": manifest,
    "zip": zip_file,
    "tar": tar_file,
}


def checked(name: str) -> Target:
    """Return a target that takes the errors which users are meant to see."""
    target = TARGETS[name]

    def run(data: bytes) -> None:
        try:
            target(data)
        except BcsegError as error:
            assert str(error).strip()

    return run
