"""What archives say about themselves, held against what bcseg reads from them.

INbreast: `Area` of each region, and `Mean`, `Min`, `Max` of the grey values inside it, which prove
orientation and pixel origin. BCDR: `s_area` and `i_mean`, `i_minimum`, `i_maximum` of the features
table. CDD-CESM: `file_size` of the region table. Nothing is written.
"""

from __future__ import annotations

from bcseg.selfcheck.checking import self_check
from bcseg.selfcheck.report import Fit, SelfCheck, Spread

__all__ = ["Fit", "SelfCheck", "Spread", "self_check"]
