"""Files that somebody made to do harm, and the real command line within 1 GB and some seconds."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import tifffile

import bcseg

GIGABYTE = 1 << 30
_LIBRARIES = 450 << 20  # what the interpreter and its libraries map before they do anything
_CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
from bcseg.cli import main
main(sys.argv[1:])
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; `peak` is the largest resident memory, in bytes."""

    code: int
    out: str
    err: str
    peak: int


def command(*words: object, folder: Path, seconds: int = 40) -> Ended:
    """Run bcseg in a process that may have 1 GB and so many seconds of CPU."""
    code = _CHILD.format(memory=GIGABYTE + _LIBRARIES, seconds=seconds)
    path = os.pathsep.join([str(Path(bcseg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            stdout=stdout, stderr=stderr, env=environment, cwd=folder,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    ended = Ended(
        process.returncode,
        out.read_text(encoding="utf-8", errors="replace"),
        err.read_text(encoding="utf-8", errors="replace"),
        usage.ru_maxrss << 10,
    )
    out.unlink()
    err.unlink()
    return ended


# ---------------------------------------------------------------------------- images


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: int, columns: int, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG that claims any size and holds ten thousand zeros."""
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def claims_bmp(rows: int, columns: int) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(stream, "BMP")
    data = bytearray(stream.getvalue())
    data[18:26] = struct.pack("<II", columns, rows)
    return bytes(data)


_GREY = (np.arange(2304) % 251).astype(np.uint8).reshape(48, 48)


def jpeg(pixels: np.ndarray = _GREY, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


def claims_jpeg(rows: int, columns: int, *, at: int = 0, of: bytes = b"") -> bytes:
    """A JPEG whose frame header claims any size; `at` 1: in a second frame header."""
    data = of or jpeg()
    start = data.index(b"\xff\xc0")
    length = 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    frame = bytearray(data[start : start + length])
    frame[5:9] = struct.pack(">HH", rows, columns)
    if at:
        return data[: start + length] + bytes(frame) + data[start + length :]
    return data[:start] + bytes(frame) + data[start + length :]


def endless_scans() -> bytes:
    """A progressive JPEG of which a decoder shall go through all pixels 5,000 times."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 5_000 + data[-2:]


def tiff(**options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((64, 48), np.uint8), **options)
    return stream.getvalue()


def tiff_of_two_widths(second: int) -> bytes:
    """A TIFF whose last element of its directory is the width once more."""
    data = bytearray(tiff())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tags = file.pages[0].tags
        last = max(tags, key=lambda tag: tag.offset)
        data[last.offset : last.offset + 12] = struct.pack(
            "<HHII", tags["ImageWidth"].code, 4, 1, second
        )
    return bytes(data)


def claims_tiff(rows: int, columns: int) -> bytes:
    data = bytearray(tiff())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        for name, value in (("ImageLength", rows), ("ImageWidth", columns)):
            tag = file.pages[0].tags[name]
            data[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


def zeros(size: int) -> bytes:
    """Deflated zeros."""
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def tiff_with_strip(packed: bytes) -> bytes:
    """A TIFF of 64 x 48 pixels whose one deflated strip is something else."""
    data = bytearray(tiff(compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        for name, value in (("StripOffsets", len(data)), ("StripByteCounts", len(packed))):
            tag = file.pages[0].tags[name]
            data[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data) + packed


def many_tiff_pages(count: int) -> bytes:
    """A TIFF of that many directories, each of one entry."""
    parts = [b"II*\0", struct.pack("<I", 8)]
    for number in range(count):
        entry = struct.pack("<HHII", 256, 4, 1, 9)
        following = 8 + 18 * (number + 1) if number + 1 < count else 0
        parts.append(struct.pack("<H", 1) + entry + struct.pack("<I", following))
    return b"".join(parts)


# ---------------------------------------------------------------------------- DICOM


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in explicit VR, little endian; `length`: what it claims."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", group, number) + vr
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return head + struct.pack("<HI", 0, size) + value
    return head + struct.pack("<H", size) + value


def dicom(
    pixels: bytes = bytes(64 * 48 * 2),
    *,
    rows: int = 64,
    columns: int = 48,
    syntax: bytes = b"1.2.840.10008.1.2.1",
    more: bytes = b"",
    without: tuple[int, ...] = (),
    length: int | None = None,
) -> bytes:
    """A DICOM file made by hand; `more`: elements before the image's, `length` of the pixels."""
    uid = syntax + b"\0" * (len(syntax) % 2)
    meta = element(2, 0x10, b"UI", uid)
    head = bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    shorts = {2: 1, 0x10: rows, 0x11: columns, 0x100: 16, 0x101: 16, 0x102: 15, 0x103: 0}
    image = b""
    for number, value in sorted(shorts.items()):
        if number == 0x10:
            image += element(0x28, 4, b"CS", b"MONOCHROME2 ")
        if number not in without:
            image += element(0x28, number, b"US", struct.pack("<H", value))
    return head + more + image + element(0x7FE0, 0x10, b"OW", pixels, length)


ITEM, LAST = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0" + bytes(4)


def framed(frame: bytes) -> bytes:
    """Encapsulated pixel data of one fragment, without their own element."""
    frame += b"\0" * (len(frame) % 2)
    return ITEM + bytes(4) + ITEM + struct.pack("<I", len(frame)) + frame + LAST


RLE_PACKETS = {"runs": b"\x81\x00", "literals": b"\x7f" + bytes(128), "nothing": b"\x80"}


def rle_bomb(packets: str, size: int) -> bytes:
    """64 x 48 pixels in two segments of `size` bytes: of runs, each unpacks to 64 times as many."""
    one = RLE_PACKETS[packets]
    segment = one * (size // len(one) + 1)
    header = struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13)
    pixels = framed(header + segment * 2)
    return dicom(pixels, syntax=b"1.2.840.10008.1.2.5", length=0xFFFFFFFF)


def deflated_bomb() -> bytes:
    """A deflated data set: 400 MB of zeros in one private element before the image."""
    plain = struct.pack("<HH2sHI", 0x29, 0x1010, b"OB", 0, 400 << 20)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    packed = packer.compress(plain) + b"".join(packer.compress(block) for _ in range(400))
    meta = element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1.99")
    head = bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    return head + packed + packer.flush()


# ---------------------------------------------------------------------------- XML

PLIST = b'<?xml version="1.0" encoding="%s"?><plist version="1.0">%s</plist>'


def region(points: Iterator[tuple[float, float]]) -> bytes:
    strings = b"".join(b"<string>(%f, %f)</string>" % point for point in points)
    roi = (
        b"<dict><key>Name</key><string>Mass</string><key>Type</key><integer>15</integer>"
        b"<key>Point_px</key><array>" + strings + b"</array></dict>"
    )
    return (
        b"<dict><key>Images</key><array><dict><key>ROIs</key><array>"
        + roi
        + b"</array></dict></array></dict>"
    )


def laughs(encoding: str = "utf-8") -> bytes:
    """Ten entities, each ten times the one before."""
    lines = ['<!ENTITY a0 "ha">']
    lines += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
    head = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE plist [{"".join(lines)}]>'
    return (head + "<plist><string>&a9;</string></plist>").encode(encoding)


def external() -> bytes:
    head = b'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    return head + b"<plist><dict><key>Images</key><string>&x;</string></dict></plist>"


def workbook_with(part: str, content: bytes, book: bytes) -> bytes:
    """A workbook one part of which is something else."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(stream, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, content if name == part else old.read(name))
    return stream.getvalue()


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    """Write a file that claims so many bytes and takes no room."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
