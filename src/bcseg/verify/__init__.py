"""Check pairs folders: is all that the tables promise there, unchanged, and does it make sense.

The parent reads the tables and compares them with each other; workers open the files of one pair
at a time. docs/verify.md explains every code.
"""

from __future__ import annotations

from bcseg.verify.findings import finding_key, read_baseline
from bcseg.verify.options import Verifying
from bcseg.verify.report import Checked, Report, render
from bcseg.verify.verifying import verify

__all__ = ["Checked", "Report", "Verifying", "finding_key", "read_baseline", "render", "verify"]
