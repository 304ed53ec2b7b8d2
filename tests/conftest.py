"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real tables and images, or skip: it is not part of the repository."""
    folder = os.environ.get("BCSEG_REAL_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BCSEG_REAL_DATA does not name the folder of real data")
    return Path(folder)


@pytest.fixture
def run(capsys):
    """Run the command line as a user would; return its exit code and what it printed."""
    from bcseg.cli import main

    def command(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        printed = capsys.readouterr()
        code = stop.value.code
        return (0 if code is None else int(code)), printed.out, printed.err

    return command
