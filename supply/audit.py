"""Ask the advisory databases about every package that the lock pins.

Usage: python supply/audit.py requirements-dev.lock. Exit code 1: a known vulnerability, or a
package that no database was asked about. That none can be reached at all is said, and is no
failure: continuous integration may run without a network.
"""

from __future__ import annotations

import json
import subprocess
import sys


def main(lock: str) -> int:
    """Return the exit code."""
    words = ["--disable-pip", "--require-hashes", "-r", lock, "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True
    )
    if not done.stdout.strip().startswith("{"):
        if "ConnectionError" in done.stderr:
            return say("no advisory database was reached: nothing was audited", 0)
        return say(f"the audit itself failed:\n{done.stderr}", 1)
    packages = json.loads(done.stdout)["dependencies"]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if packages and len(skipped) == len(packages):
        return say(f"no advisory database knew any of {len(skipped)} packages: nothing audited", 0)
    known = [
        f"{one['name']} {one['version']}: {', '.join([found['id'], *found['aliases']])}"
        f" (mended in {', '.join(found['fix_versions']) or 'no release yet'})"
        for one in packages
        for found in one.get("vulns", ())
    ]
    if skipped or not packages:
        known.append(f"not audited: {', '.join(skipped)}")
    return say("\n".join(known) or f"{len(packages)} packages, none with a known flaw", bool(known))


def say(text: str, code: int) -> int:
    """Print and return the exit code."""
    sys.stdout.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
