"""How the C library keeps memory between images."""

from __future__ import annotations

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_REUSED = 32 << 20  # bytes: a mammogram of 16 bit; glibc's own upper limit
_KEPT = 128 << 20


@functools.cache
def keep_freed_memory() -> bool:
    """Let freed memory of images serve the next image; False where that cannot be said (glibc can).

    Otherwise every array of some megabytes is given back and fetched anew from the system, which
    clears it page by page: up to a fifth of all the time. The peak stays what it was.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_REUSED), (_M_TRIM_THRESHOLD, _KEPT))
    return all(mallopt(*setting) for setting in settings)
