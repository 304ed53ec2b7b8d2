"""The command line as a user meets it: help, streams, exit codes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy
import pytest

from archives import DATASETS, bcseg, finished, original
from bcseg import __version__

COMMANDS = ("datasets", "why", "refactor", "select", "synth", "demo")


# ------------------------------------------------------------------------------ help


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_command_and_the_exit_codes(run, option):
    code, out, err = run(option)
    assert (code, err) == (0, "")
    for command in COMMANDS:
        assert command in out
    for word in ("0 all done", "1 done, but", "2 wrong usage", "130 interrupted"):
        assert word in " ".join(out.replace("│", " ").split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(run, command):
    code, out, _ = run(command, "-h")
    assert code == 0
    assert f"bcseg {command}" in out.split("Example:")[1]


def test_help_needs_no_heavy_library():
    script = (
        "import sys\n"
        "from bcseg.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'cv2', 'pandas', 'pydicom', 'openpyxl', 'tifffile', 'shapely'}\n"
        "heavy |= {'rich', 'bcseg.pairs'}  # half of the time of --help, when they were there\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_version(run):
    assert run("--version") == (0, f"bcseg {__version__}\n", "")


@pytest.mark.parametrize("words", [("--version", "--json"), ("--json", "--version")])
def test_versions_for_a_bug_report(run, words):
    code, printed, err = run(*words)
    assert (code, err) == (0, "")
    found = json.loads(printed)
    assert found["bcseg"] == __version__
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == numpy.__version__
    assert found["extras"]["xls"].keys() == {"xlrd"}
    assert found["png_deflate"] == {"grey8": "zlib_ng", "grey16": "isal_zlib", "mask": "isal_zlib"}
    assert not {"dev", "docs", "peers", "fuzz"} & found["extras"].keys()


def test_a_library_that_is_missing_has_no_version(run, monkeypatch):
    def version(name):
        if name == "pandas":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    found = json.loads(run("--version", "--json")[1])
    assert found["packages"]["pandas"] is None
    assert found["packages"]["numpy"] == "1.0"


def test_the_deflate_that_is_in_use_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    found = json.loads(run("--version", "--json")[1])
    assert set(found["png_deflate"].values()) == {"zlib"}


def test_json_before_a_command_says_where_it_belongs(run):
    code, printed, err = run("--json", "datasets")
    assert (code, printed) == (2, "")
    assert "behind the command" in err


def test_the_plain_version_imports_nothing_heavy():
    program = (
        "import sys, bcseg.cli\n"
        "try: bcseg.cli.main(['--version'])\n"
        "finally: print({'numpy', 'bcseg.about'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"bcseg {__version__}", "set()"]


@pytest.mark.parametrize("module", [True, False])
def test_it_runs_as_script_and_as_module(module):
    script = [str(Path(sys.executable).with_name("bcseg"))]
    command = [sys.executable, "-m", "bcseg"] if module else script
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"bcseg {__version__}\n")


# ------------------------------------------------------------------------------ wrong usage


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["refactor"],
        ["refactor", "inbreast"],
        ["refactor", "inbreast", "x", "--jobs", "-1"],
        ["refactor", "inbreast", "x", "--limit", "0"],
        ["refactor", "inbreast", "x", "--preset", "nice"],
        ["refactor", "inbreast", "x", "--with-empty=all"],
        ["refactor", "inbreast", "x", "--window", "5"],
        ["refactor", "inbreast", "x", "--colour"],
        ["select"],
        ["synth", "embed", "folder"],
        ["datasets", "embed"],
    ],
)
def test_wrong_usage_is_2_and_says_what(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------ streams


@pytest.mark.parametrize(
    "words",
    [
        ("datasets", "--json"),
        ("datasets", "cdd", "--json"),
        ("refactor", "cdd", "{cdd}", "-o", "{out}", "-j", "1", "--json"),
        ("refactor", "cdd", "{cdd}", "-o", "{out}", "-n", "--json"),
        ("synth", "cdd", "{out}", "--json"),
        ("why", "P1_L_DM_MLO", "{pairs}", "--json"),
    ],
)
def test_json_is_the_only_thing_on_stdout(run, tmp_path, words):
    places = {"cdd": original("cdd"), "out": tmp_path / "out", "pairs": finished("cdd")}
    code, out, _ = run(*(word.format(**places) for word in words))
    assert code == 0
    found = json.loads(out)
    assert found["schema_version"] == 1


@pytest.mark.parametrize("dataset", DATASETS)
def test_what_is_known_of_a_dataset(run, dataset):
    code, out, err = run("datasets", dataset)
    assert (code, err) == (0, "")
    for word in ("licence", "cite", "layout", "published"):
        assert word in out
    code, listed, _ = run("datasets")
    assert dataset in listed


def test_results_on_stdout_and_messages_on_stderr(run, tmp_path):
    source = tmp_path / "source"
    bcseg("synth", "cdd", source)
    image = sorted(source.rglob("*DM*.jpg"))[0]
    image.write_bytes(b"?")
    arguments = ("refactor", "cdd", source, "-o", tmp_path / "out", "-j", 1)
    code, out, err = run(*arguments)
    assert code == 1
    assert "1 failed" in out
    assert f"failed {image.stem.strip()}" in err
    assert "failed P" not in out
    code, text, _ = run(*arguments, "--json")
    assert code == json.loads(text)["exit_code"] == 1
    code, out, err = run(*arguments, "--quiet")
    assert (code, err) == (1, "")


def test_the_default_root(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BCSEG_DATA", raising=False)
    assert run("refactor", "cdd", original("cdd"), "-j", 1)[0] == 0
    assert (tmp_path / "bcseg-data" / "cdd" / "dataset.json").is_file()
    monkeypatch.setenv("BCSEG_DATA", str(tmp_path / "mine"))
    assert run("refactor", "cdd", original("cdd"), "-j", 1)[0] == 0
    assert (tmp_path / "mine" / "cdd" / "dataset.json").is_file()


def test_aliases_and_case(run, tmp_path):
    assert run("refactor", "CDD-CESM", original("cdd"), "-o", tmp_path, "-j", 1)[0] == 0
    assert (tmp_path / "cdd" / "dataset.json").is_file()


def test_no_colour_in_a_file(tmp_path):
    command = [sys.executable, "-m", "bcseg", "refactor", "inbreast", "nowhere"]
    done = subprocess.run(command, capture_output=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr + done.stdout


def test_a_closed_pipe_is_no_bug(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "bcseg", "datasets", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert b"Traceback" not in err
    assert process.wait(timeout=60) in (0, 1)


# ------------------------------------------------------------------------------ a bug


def test_a_bug_outside_any_record_is_3_with_a_log(run, tmp_path):
    adapter = tmp_path / "mine.py"
    adapter.write_text(
        "from bcseg.adapters.cdd import INFO, claims, lesions\n"
        "def index(source, options):\n    return 1 // 0\n"
    )
    code, out, err = run("refactor", adapter, original("cdd"), "-o", tmp_path / "out")
    assert (code, out) == (3, "")
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err
    log = Path(err.split("report it with ")[1].strip())
    assert "mine.py" in log.read_text()
    log.unlink()
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_adapter(run, tmp_path):
    (tmp_path / "mine.py").write_text("INFO = 1\n")
    code, _, err = run("refactor", tmp_path / "mine.py", original("cdd"), "-o", tmp_path / "out")
    assert code == 2
    assert "it has no claims, index, lesions" in err
    code, _, err = run("refactor", tmp_path / "none.py", original("cdd"), "-o", tmp_path / "out")
    assert code == 2
    assert "no such adapter file" in err


@pytest.mark.parametrize("command", [["synth", "cdd"], ["demo"]])
def test_a_folder_that_cannot_be_made_is_no_bug(run, tmp_path, command):
    (tmp_path / "file").write_bytes(b"")
    code, out, err = run(*command, tmp_path / "file" / "below")
    assert (code, out) == (2, "")
    assert "cannot write there" in err
    assert str(tmp_path / "file" / "below") in err


def test_full_size_is_scale_one(run, tmp_path):
    code, _, _ = run("synth", "cdd", tmp_path / "a", "--full-size")
    assert code == 0
    run("synth", "cdd", tmp_path / "b", "--scale", "1")
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.jpg"))
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
