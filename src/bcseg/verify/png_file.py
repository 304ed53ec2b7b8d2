"""One PNG file on disk against what the tables promise about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from bcseg import png
from bcseg.errors import RecordError
from bcseg.formats.images import PNG_SIGNATURE, PngHeader, decode, png_header
from bcseg.verify.findings import Findings, reason
from bcseg.verify.pair import Promise, Seen

HEAD_BYTES = 33  # signature and IHDR chunk
_GREY = 0  # PNG colour type


def report_unopened(found: Findings, name: str, error: OSError) -> None:
    """Report a file that is not there or cannot be read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        found.fail("missing_file", "the file is not there", name)
    else:
        found.fail("damaged_file", f"the file cannot be read ({reason(error)})", name)


def check_header(found: Findings, data: bytes, promise: Promise) -> PngHeader | None:
    """Compare the header of a PNG with its promise; return it, None if it cannot be read."""
    name = promise.name
    if data and PNG_SIGNATURE.startswith(data[: len(PNG_SIGNATURE)]) and len(data) < HEAD_BYTES:
        found.fail("truncated", f"the file ends after {len(data)} bytes", name)
        return None
    if not data:
        found.fail("truncated", "the file is empty", name)
        return None
    try:
        header = png_header(data, name) if data.startswith(PNG_SIGNATURE) else None
    except RecordError:
        header = None
    if header is None:
        found.fail("damaged_file", f"not a PNG file: it begins with {data[:8].hex(' ')}", name)
        return None
    rows, columns = header.rows, header.columns
    if rows != (promise.rows or rows) or columns != (promise.columns or columns):
        message = f"{rows} x {columns} pixels, {promise.rows} x {promise.columns} in records.csv"
        found.fail("wrong_size", message, name)
    if header.colour_type != _GREY:
        message = f"not one grey channel (PNG colour type {header.colour_type})"
        found.fail("wrong_channels", message, name)
    if promise.depth and header.depth != promise.depth:
        found.fail("wrong_depth", f"{header.depth} bits, not {promise.depth}", name)
    return header


def check_same_size(found: Findings, headers: Sequence[PngHeader | None], mask: str) -> None:
    """Compare the size of an image with that of its mask."""
    sizes = [(one.rows, one.columns) for one in headers if one]
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        message = "the image has {} x {} pixels, its mask {} x {}".format(*sizes[0], *sizes[1])
        found.fail("size_mismatch", message, mask)


class Opened(NamedTuple):
    """A file of a pair: its header, and its pixels where they are worth a look."""

    header: PngHeader | None = None
    pixels: NDArray[Any] | None = None
    intact: bool = False  # the pixels are those that the tables promise


def open_file(found: Findings, seen: Seen, folder: Path, promise: Promise) -> Opened:
    """Read, decode and compare one file."""
    name = promise.name
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        report_unopened(found, name, error)
        return Opened()
    seen.bytes_read += len(data)
    before = len(found.rows)
    header = check_header(found, data[:HEAD_BYTES], promise)
    if header is None or len(found.rows) > before:
        return Opened(header)
    try:
        pixels = decode(data, name).pixels
    except RecordError as error:
        code = "truncated" if error.code == "truncated" else "damaged_file"
        found.fail(code, str(error.args[0]), name)
        return Opened(header)
    if not promise.sha256:
        return Opened(header, pixels, True)
    sha256 = png.pixels_sha256(pixels)
    if sha256 != promise.sha256:
        found.fail("altered", "the pixels are not those of records.csv", name)
        seen.hashes[name] = sha256
    return Opened(header, pixels, sha256 == promise.sha256)
