"""One self-contained HTML page to look at: what is in the pairs, and every lesion magnified."""

from bcseg.report.data import Reported, Reporting
from bcseg.report.reporting import overlays, report

__all__ = ["Reported", "Reporting", "overlays", "report"]
