"""What an export came to, for people and programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bcseg.errors import EXIT_FINDINGS, EXIT_OK
from bcseg.export.base import Exported
from bcseg.pairs import SCHEMA_VERSION
from bcseg.text import counted

_SHOWN = 20


def document(result: Exported) -> dict[str, Any]:
    """Return the export for --json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "format": result.format,
        "folder": str(result.folder),
        "pairs": result.pairs,
        "lesions": result.lesions,
        "failed": [asdict(one) for one in result.failures],
        "notes": result.notes,
        "next": result.next,
        "exit_code": EXIT_FINDINGS if result.failures else EXIT_OK,
    }


def text(result: Exported) -> str:
    """Return the export for people."""
    lesions = counted(result.lesions, "lesion")
    lines = [f"{counted(result.pairs, 'pair')} with {lesions} in {result.folder}"]
    lines += [f"failed {one.case}: {one.message}" for one in result.failures[:_SHOWN]]
    if len(result.failures) > _SHOWN:
        lines.append(f"... and {len(result.failures) - _SHOWN} more")
    if result.next:
        lines += ["next:", *(f"  {line}" for line in result.next)]
    return "\n".join(lines)
