"""Freed memory is kept for the next image."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from bcseg.memory import keep_freed_memory

FAULTS = """
import resource, numpy as np
from bcseg.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
np.ones(9 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in range(9 << 20, 19 << 20, 1 << 18):
    np.ones(size, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="only glibc can be told")
def test_arrays_are_not_fetched_anew():
    assert resource.getpagesize() <= 1 << 16

    def faults(keep: bool) -> int:
        words = [sys.executable, "-c", FAULTS.format(keep=keep)]
        return int(subprocess.run(words, capture_output=True, check=True, text=True).stdout)

    assert faults(True) * 2 < faults(False)
