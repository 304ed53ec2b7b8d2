"""What the fuzzers begin with: sound files of every reader, small, and the same for every run.

Most are taken from the synthetic archives (`bcseg.synth`); what those do not hold (other
containers, transfer syntaxes, tars of other dialects) is made here.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from bcseg import synth
from bcseg.synth import documents

_LONGEST = 1 << 16  # bytes of a seed: longer ones cost executions
_SCALE = 0.1
_ENDINGS = {
    "osirix": (".xml",),
    "csv": (".csv",),
    "xlsx": (".xlsx",),
    "xls": (".xls",),
    "dicom": (".dcm",),
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "tiff": (".tif",),
}

Seeds = dict[str, bytes]


@functools.cache
def _archive_files() -> Seeds:
    """Return the small files of all synthetic archives, by dataset and name."""
    found: Seeds = {}
    for dataset in synth.BUILDERS:
        with tempfile.TemporaryDirectory() as folder:
            root = synth.build(dataset, Path(folder), scale=_SCALE, quirks=True).root
            for name in documents.files_below(root):
                data = (root / name).read_bytes()
                if len(data) <= _LONGEST:
                    found[f"{dataset}-{name.replace('/', '-')}"] = data
    return found


def _pixels(dtype: str = "uint8", shape: tuple[int, ...] = (19, 23)) -> np.ndarray:
    top = int(np.iinfo(dtype).max)
    return np.random.default_rng(1).integers(0, top, shape).astype(dtype)


def _by_pillow(container: str, pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, container, **options)
    return stream.getvalue()


def _by_cv2(ending: str, pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(ending, pixels)[1])


def _pngs() -> Seeds:
    wide, colour = _pixels("uint16"), np.repeat(_pixels()[..., None], 3, axis=2)
    return {
        "grey16": _by_cv2(".png", wide),
        "grey8": _by_cv2(".png", _pixels()),
        "rgb": _by_cv2(".png", colour),
        "palette": _by_pillow("PNG", np.asarray(_pixels() // 128, bool)),
        "texts": _by_pillow("PNG", _pixels(), dpi=(1, 1), icc_profile=b"x" * 99),
    }


def _jpegs() -> Seeds:
    colour = np.repeat(_pixels()[..., None], 3, axis=2)
    return {
        "baseline": _by_pillow("JPEG", _pixels()),
        "progressive": _by_pillow("JPEG", _pixels(), progressive=True),
        "colour": _by_pillow("JPEG", colour),
    }


def _tiffs() -> Seeds:
    import tifffile

    found: Seeds = {}
    for name, options in {
        "plain": {},
        "big": {"bigtiff": True, "byteorder": ">"},
        "strips": {"rowsperstrip": 5},
        "lzw": {"compression": "lzw", "predictor": True},
        "deflate": {"compression": "zlib"},
        "tiles": {"tile": (16, 16), "compression": "packbits"},
        "jpeg": {"compression": "jpeg"},
    }.items():
        with contextlib.suppress(ImportError, ValueError):  # without imagecodecs
            stream = io.BytesIO()
            tifffile.imwrite(stream, _pixels(), **options)
            found[name] = stream.getvalue()
    return found


def _dicoms() -> Seeds:
    """Return one image in each transfer syntax that can be written here."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    def data_set(syntax: str, pixels: np.ndarray) -> Dataset:
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.2", "1.2.3"
        made.Modality, made.PatientID = "MG", "Mass-Test_P_00001_LEFT_CC"
        made.Rows, made.Columns = pixels.shape
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
        made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
        made.PixelSpacing, made.PixelPaddingValue = [0.1, 0.1], 0
        order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
        raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        made.PixelData = raw + b"\0" * (len(raw) % 2)
        made["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
        return made

    def written(made: Dataset) -> bytes:
        stream = io.BytesIO()
        made.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    wide, narrow = _pixels("uint16"), _pixels()
    plain = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
    found = {f"syntax-{uid}": written(data_set(uid, wide)) for uid in plain}
    found["deflated"] = written(data_set("1.2.840.10008.1.2.1.99", narrow))
    packed = data_set("1.2.840.10008.1.2.1", wide)
    packed.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    found["rle"] = written(packed)
    for name, uid, frame in _frames(wide, narrow):
        made = data_set("1.2.840.10008.1.2.1", narrow if name == "baseline" else wide)
        made.file_meta.TransferSyntaxUID = pydicom.uid.UID(uid)
        made.PixelData = encapsulate([frame])
        made["PixelData"].is_undefined_length = True
        found[f"frame-{name}"] = written(made)
    return found


def _frames(wide: np.ndarray, narrow: np.ndarray) -> list[tuple[str, str, bytes]]:
    try:
        import imagecodecs
    except ImportError:
        return []
    syntax = "1.2.840.10008.1.2.4."
    return [
        ("baseline", syntax + "50", imagecodecs.jpeg8_encode(narrow, level=90)),
        ("lossless", syntax + "70", imagecodecs.jpeg8_encode(wide, lossless=True)),
        ("jpegls", syntax + "80", imagecodecs.jpegls_encode(wide)),
        ("j2k", syntax + "90", imagecodecs.jpeg2k_encode(wide, level=0, codecformat="j2k")),
        ("jp2", syntax + "90", imagecodecs.jpeg2k_encode(wide, level=0, codecformat="jp2")),
    ]


def _shapes() -> Seeds:
    texts = {
        "polygon": '{"name":"polygon","all_points_x":[1,2.5,3],"all_points_y":[1,2,1e3]}',
        "polyline": '{"name":"polyline","all_points_x":[1,2],"all_points_y":[1,2]}',
        "ellipse": '{"name":"ellipse","cx":1,"cy":2,"rx":3,"ry":4,"theta":0.5}',
        "circle": '{"name":"circle","cx":693,"cy":814,"r":64}',
        "point": '{"name":"point","cx":-0.5,"cy":NaN}',
        "rect": '{"name":"rect","x":1,"y":2,"width":Infinity,"height":"4"}',
        "none": "{}",
        "deep": "[" * 400 + "]" * 400,
    }
    return {name: text.encode() for name, text in texts.items()}


def _manifests() -> Seeds:
    return {
        "ids": b"dataset,record_id,decision,note\ninbreast,20588334,accept,=1+1\n",
        "list": b"# mine\n20588334___PRE.png\nMass-Test_P_00194_RIGHT_CC_FULL___PRE.png\n",
        "semicolons": b'sep=;\r\nfile;note\r\n"a.png";"x;y"\r\n',
        "utf16": "record_id\nP1_L_DM_MLO\n".encode("utf-16"),
    }


def _zips() -> Seeds:
    parts = {"a/b.txt": b"two", "c d.csv": b"x,y\n1,2\n" * 9, "../up": b"?"}
    found = {"plain": documents.zipped(parts)}
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name in ("a", "A", "a", "é\n😀", "x" * 255):
            archive.writestr(name, b"data", zipfile.ZIP_STORED)
        with archive.open("streamed", "w", force_zip64=True) as member:
            member.write(b"zip64")
    return found | {"names": stream.getvalue()}


def _tars() -> Seeds:
    found: Seeds = {}
    for dialect in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=dialect) as archive:
            for name in ("a/b.txt", "../up", "a/b.txt", "n" * 99 if dialect == 0 else "n" * 199):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime = 3, 1_600_000_000
                archive.addfile(entry, io.BytesIO(b"two"))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        found[f"dialect-{dialect}"] = stream.getvalue()
    found["packed"] = gzip.compress(found["dialect-1"], mtime=0)
    return found


def _tables() -> Seeds:
    return {
        "formulas": b'id,text\n1,=1+1\n2,"-0.5"\n3,@SUM(A1)\n4,\'=x\n',
        "mixed": b'\xef\xbb\xbfa;b\r\n1;2\n3;4\r"5";6\n\n',
        "utf16": "a\tb\n1\té\n".encode("utf-16"),
        "nul": b"a,b\n1,\x00\n",
    }


_MADE: dict[str, Callable[[], Seeds]] = {
    "csv": _tables,
    "dicom": _dicoms,
    "jpeg": _jpegs,
    "manifest": _manifests,
    "png": _pngs,
    "tar": _tars,
    "tiff": _tiffs,
    "via": _shapes,
    "zip": _zips,
}


def seeds(target: str) -> Seeds:
    """Return the files that a target begins with, by name."""
    found = _MADE.get(target, dict)()
    endings = _ENDINGS.get(target, ())
    if endings:
        found |= {n: data for n, data in _archive_files().items() if n.lower().endswith(endings)}
    return found


def write(target: str, folder: Path) -> int:
    """Write the seeds of a target into a folder; return how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    found = seeds(target)
    for name, data in found.items():
        digest = zlib.crc32(name.encode()) & 0xFFFFFFFF
        (folder / f"seed-{digest:08x}").write_bytes(data)
    return len(found)
