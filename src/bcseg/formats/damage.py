"""What decoders raise about damaged bytes, found by feeding them some.

A list instead of "any exception", so that a mistake of ours is not taken for a damaged file.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import PIL.Image
from pydicom.errors import BytesLengthException, InvalidDicomError

DAMAGED: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,  # a codec that imagecodecs was built without
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,  # imagecodecs and tifffile derive theirs from it or from ValueError
    StopIteration,
    SyntaxError,  # Pillow: a broken PNG
    TypeError,
    ValueError,
    BytesLengthException,
    InvalidDicomError,
    PIL.Image.DecompressionBombError,
    cv2.error,
    struct.error,
    zlib.error,
)
