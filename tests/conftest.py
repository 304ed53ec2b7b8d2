"""Fixtures that several test files share."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: images are tiny here
# hundreds of processes start: each would compile the sources anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a worker whole files: archives that their tests share are made once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real tables and images, or skip: it is not part of the repository."""
    folder = os.environ.get("BCSEG_REAL_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BCSEG_REAL_DATA does not name the folder of real data")
    return Path(folder)


@pytest.fixture(autouse=True, scope="session")
def _few_processes():
    """Let a test without --jobs work in its own process: a worker takes longer to start."""
    from bcseg import executors

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "usable_cpus", lambda: 1)
        yield


@pytest.fixture
def run(capsys):
    """Run the command line as a user would; return its exit code and what it printed."""
    from bcseg.cli import main
    from bcseg.errors import EXIT_BUG

    def command(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        printed = capsys.readouterr()
        code = stop.value.code
        if code == EXIT_BUG:  # pytest shows it where a test fails
            traceback.print_exception(stop.value)
        return (0 if code is None else int(code)), printed.out, printed.err

    return command
