"""Fuzz every reader in turn, and print what came of it.

`python run.py --minutes 30 [--target dicom --target zip] [--folder fuzz/corpora]`: exit code 1 with
a finding. Corpora stay in the folder: the next run goes on from them; findings lie beside.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import corpus

HERE = Path(__file__).resolve().parent
TARGETS = (
    *("osirix", "via", "csv", "xlsx", "xls", "dicom", "png", "jpeg", "tiff", "manifest"),
    *("zip", "tar"),
)
_MOST_FINDINGS = 5  # of a target in one run
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COUNT = re.compile(r"^#(\d+)\s", re.MULTILINE)
_MAX_LEN, _SECONDS_EACH, _MB = 1 << 16, 10, 1024


@dataclass(slots=True)
class Result:
    """What one target did."""

    target: str
    seeds: int
    executions: int = 0
    corpus: int = 0
    findings: int = 0
    seconds: float = 0.0

    def cells(self) -> tuple[str, ...]:
        """Return the line of the table."""
        numbers = (self.seeds, self.executions, self.corpus, self.findings, round(self.seconds))
        return (self.target, *(f"{number:,}" for number in numbers))


def fuzz(target: str, folder: Path, seconds: float) -> Result:
    """Fuzz one target for so long; a finding ends one process, and the next goes on.

    The time that a process takes to begin is not counted, unless it ends with a finding.
    """
    place = folder / target
    result = Result(target, corpus.write(target, place))
    findings = folder / "findings"
    findings.mkdir(exist_ok=True)
    while (left := seconds - result.seconds) >= 1 and result.findings < _MOST_FINDINGS:
        begin = time.monotonic()
        printed, failed = _process(target, place, findings, left)
        result.seconds += min(left, time.monotonic() - begin)
        found = _EXECUTED.findall(printed) or _COUNT.findall(printed) or ["0"]
        result.executions += int(found[-1])
        if not failed:
            break
        result.findings += 1
        log = findings / f"{target}-{result.findings}.log"
        log.write_text(printed[-20_000:], encoding="utf-8", errors="replace")
        print(f"{target}: finding, see {log}", file=sys.stderr)
        if int(found[-1]) == 0:  # it does not even start
            break
    result.corpus = len(list(place.iterdir()))
    return result


def _process(target: str, place: Path, findings: Path, seconds: float) -> tuple[str, bool]:
    command = [
        *(sys.executable, str(HERE / "one.py"), target, str(place)),
        f"-max_total_time={max(1, int(seconds))}",
        f"-timeout={2 * _SECONDS_EACH}",  # of the wall: the machine may have other work
        f"-rss_limit_mb={_MB}",
        f"-max_len={_MAX_LEN}",
        f"-artifact_prefix={findings}/{target}-",
        *("-print_final_stats=1", "-verbosity=1", "-reload=0"),
    ]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, env=environment, timeout=seconds + 300, check=False
    )
    return (done.stdout + done.stderr).decode(errors="replace"), done.returncode != 0


def table(results: list[Result]) -> str:
    """Return the results as the table of docs/reliability.md."""
    head = ("reader", "seeds", "executions", "corpus", "findings", "seconds")
    lines = [head, ("---", *("---:",) * 5), *(result.cells() for result in results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    """Fuzz what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--target", action="append", choices=TARGETS)
    parser.add_argument("--folder", type=Path, default=HERE / "corpora")
    parser.add_argument("--fresh", action="store_true", help="forget the corpora of earlier runs")
    chosen = parser.parse_args()
    if chosen.fresh:
        shutil.rmtree(chosen.folder, ignore_errors=True)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    targets = chosen.target or TARGETS
    results = []
    for target in targets:
        results.append(fuzz(target, chosen.folder.resolve(), 60 * chosen.minutes / len(targets)))
        print(" ".join(results[-1].cells()), file=sys.stderr, flush=True)
    print(table(results))
    return 1 if any(result.findings for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
