"""Office documents and archive files whose bytes depend on their content alone: no clock."""

from __future__ import annotations

import gzip
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

_EARLY = datetime(2022, 1, 1)
_ZIP_CLOCK = (1980, 1, 1, 0, 0, 0)
_PACKED_ALREADY = (".png", ".jpg", ".docx", ".xlsx")


def workbook(sheets: Mapping[str, Iterable[Sequence[object]]]) -> bytes:
    """Return an .xlsx workbook of these sheets, each a list of rows."""
    from openpyxl import Workbook

    book = Workbook()
    book.properties.created = _EARLY
    book.remove(book.worksheets[0])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    buffer = BytesIO()
    book.save(buffer)
    with zipfile.ZipFile(buffer) as saved:
        return zipped({name: _undated(saved.read(name)) for name in saved.namelist()})


def _undated(content: bytes) -> bytes:
    """Replace the clock that openpyxl writes into the document's properties."""
    stamp = _EARLY.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    return re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + stamp, content)


def word_document(text: str) -> bytes:
    """Return a .docx document of one paragraph."""
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{types}"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{relations}"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body><w:p><w:r>'
        f"<w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
    }
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    return zipped({name: (head + part).encode() for name, part in parts.items()})


def zipped(parts: Mapping[str, bytes]) -> bytes:
    """Return a zip file of these members."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(_entry(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_CLOCK)
    entry.create_system = 3  # the same on every machine
    entry.external_attr = 0o100644 << 16
    return entry


# ---------------------------------------------------------------------------- whole folders


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder, sorted."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def zip_folder(folder: Path, target: Path) -> None:
    """Write all files below a folder as a zip file."""
    with zipfile.ZipFile(target, "w") as archive:
        for name in files_below(folder):
            stored = name.endswith(_PACKED_ALREADY)
            method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(_entry(name), (folder / name).read_bytes(), method, 1)


def tar_folder(folder: Path, target: Path) -> None:
    """Write all files below a folder as a .tar.gz file."""
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in files_below(folder):
            content = (folder / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))


# ------------------------------------------------------------------------------ old workbooks

_SECTOR = 512
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_GLOBALS, _WORKSHEET = 0x0005, 0x0010


def old_workbook(sheets: Mapping[str, Iterable[Sequence[str | float]]]) -> bytes:
    """Return an .xls workbook (BIFF8 in a compound file) of text and number cells, no styles.

    Written as [MS-XLS] and [MS-CFB] describe the two formats; empty texts are empty cells.
    """
    bodies = [_begin(_WORKSHEET) + _cells(rows) + _record(0x000A) for rows in sheets.values()]
    names = [_text(title, "<B") for title in sheets]
    head = _begin(_GLOBALS)
    start = len(head) + sum(4 + 6 + len(name) for name in names) + 4
    for name, body in zip(names, bodies, strict=True):
        head += _record(0x0085, struct.pack("<IH", start, 0) + name)
        start += len(body)
    return _compound(head + _record(0x000A) + b"".join(bodies))


def _record(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _begin(kind: int) -> bytes:
    return _record(0x0809, struct.pack("<HHHHII", 0x0600, kind, 0x0DBB, 0x07CC, 0, 6))


def _text(text: str, length: str) -> bytes:
    return struct.pack(length, len(text)) + b"\x01" + text.encode("utf-16-le")


def _cells(rows: Iterable[Sequence[str | float]]) -> bytes:
    records = []
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            place = struct.pack("<HHH", row, column, 0)
            if isinstance(value, str):
                records += [_record(0x0204, place + _text(value, "<H"))] if value else []
            else:
                records.append(_record(0x0203, place + struct.pack("<d", value)))
    return b"".join(records)


def _compound(stream: bytes) -> bytes:
    """Return a compound file: allocation table, directory, and one stream of whole sectors."""
    stream = stream.ljust(8 * _SECTOR, b"\0")  # a shorter one would be stored elsewhere
    sectors = -(-len(stream) // _SECTOR)
    tables = 1
    while tables * _SECTOR // 4 < tables + 1 + sectors:
        tables += 1
    chain = [_FAT] * tables + [_END] + list(range(tables + 2, tables + 1 + sectors)) + [_END]
    chain += [_FREE] * (tables * _SECTOR // 4 - len(chain))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6x", 0x003E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, tables, tables, 0, 4096, _END, 0, _END, 0)
    header += struct.pack("<109I", *range(tables), *[_FREE] * (109 - tables))
    entries = _entry_of("Root Entry", 5, 1, _END, 0)
    entries += _entry_of("Workbook", 2, _FREE, tables + 1, len(stream))
    directory = entries.ljust(_SECTOR, b"\0")
    body = struct.pack(f"<{len(chain)}I", *chain) + directory + stream
    return header + body.ljust(-(-len(body) // _SECTOR) * _SECTOR, b"\0")


def _entry_of(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    title = name.encode("utf-16-le")
    links = struct.pack("<HBBIII", len(title) + 2, kind, 1, _FREE, _FREE, child)
    return title.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)
