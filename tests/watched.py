"""Run commands in a process of their own that reports every attempt to change the source.

As a script: the source, then a JSON list of commands; prints what each of them did as JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

_CHANGES = (
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def tour(dataset: str, source: Path, out: Path) -> list[list[str]]:
    """Return one or more calls of every command, that have to do with one archive."""
    root, raw = str(out / "root"), str(source)
    one = ["-j", "1"]
    refactor = ["refactor", dataset, raw, *one, "-o"]
    checks = ["--self-check"] if dataset in ("bcdr", "cdd", "inbreast") else []
    checks += ["--clinical"] if dataset in ("cdd", "inbreast") else []
    first = "RECORD"  # the first record id of the root
    return [
        ["datasets", dataset],
        ["inspect", raw],
        ["inspect", raw, "--json"],
        [*refactor, root, "--dry-run"],
        [*refactor, root, "--verbose"],
        [*refactor, root, "--rehash", "--json"],
        [*refactor, str(out / "all"), "--with-empty", "--kind", "lesions", "--masks", "lesion"],
        *([*refactor, str(out / "shards"), "--shard", f"{number}/2"] for number in (1, 2)),
        ["merge", str(out / "shards")],
        ["score", root, *one],
        ["stats", root],
        ["stats", root, "--json"],
        ["verify", root, *one, "--source", f"{dataset}={raw}", "-o", str(out / "found.csv")],
        *(["verify", root, *one, "--source", f"{dataset}={raw}", check] for check in checks),
        ["why", first, root],
        ["why", first, root, "--json"],
        ["split", root, "--unknown-patient", "one-group"],
        ["report", root, *one],
        ["report", root, *one, "--png", first, "--full"],
        ["select", root, "--where", "area_px > 0", "-o", str(out / "selected")],
        *(["export", one, root, "-o", str(out / one)] for one in ("nnunet", "yolo", "monai")),
        ["restore", f"{root}/{dataset}/masks", root, *one, "-o", str(out / "restored")],
        ["review", root, "--port", "0", "--reviewer", "ann"],
        ["synth", "cdd", str(out / "synth"), "--images", "6", "--scale", "0.1"],
    ]


def changed(event: str, args: tuple[Any, ...]) -> list[str]:
    """Return the paths that an audit event of Python is about to change."""
    names: tuple[Any, ...] = ()
    if event == "open":
        name, mode, flags = args
        if flags & _WRITING or (isinstance(mode, str) and set(mode) & set("wax+")):
            names = (name,)
    elif event in _CHANGES:
        names = args[:2]
    return [os.fsdecode(one) for one in names if isinstance(one, (str, bytes, os.PathLike))]


class Watch:
    """An audit hook: what tried to change something below a folder."""

    def __init__(self, source: Path) -> None:
        self._source = os.path.realpath(source)
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        for name in changed(event, args):
            path = os.path.abspath(name)  # noqa: PTH100  # asks no disk
            if path == self._source or path.startswith(self._source + os.sep):
                self.seen.append(f"{event} {path}")


class _Page(io.StringIO):
    """The output of `bcseg review`: when the address is printed, a reader comes, then Ctrl-C."""

    pages = ""

    def write(self, text: str) -> int:
        found = re.search(r"http://127\S+", text)
        if found:
            threading.Thread(target=self._visit, args=(found[0],)).start()
        return super().write(text)

    def _visit(self, url: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            session = opener.open(f"{url}api/session", timeout=30).read().decode()
            pair = json.loads(session)["pairs"][0]
            contours = f"{url}api/contours/{pair['dataset']}/{pair['record_id']}"
            self.pages = session + opener.open(contours, timeout=30).read().decode()
        finally:
            os.kill(os.getpid(), signal.SIGINT)


def _run(words: list[str]) -> dict[str, Any]:
    from bcseg.cli import main

    stdout, stderr, code = _Page(), io.StringIO(), 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
    said = stdout.getvalue() + stdout.pages + stderr.getvalue()
    return {"command": words, "code": code, "said": said}


def main(source: str, commands: list[list[str]]) -> None:
    """Run commands one after the other, print what they did."""
    probe = Path(source) / "probe"
    try:
        probe.touch()
        probe.unlink()
        read_only = False
    except OSError:
        read_only = True
    watch = Watch(Path(source))
    done = []
    for words in commands:
        if "RECORD" in words:
            places = (sorted(Path(word).glob("*/records.csv")) for word in words)
            tables = next(filter(None, places))
            first = tables[0].read_text(encoding="utf-8").splitlines()[1].split(",")[1]
            words = [first if word == "RECORD" else word for word in words]
        done.append(_run(words))
    json.dump({"done": done, "touched": watch.seen, "read_only": read_only}, sys.stdout)


def watched(
    source: Path, commands: list[list[str]], *, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run commands in another process, to which permissions are no mere suggestion."""
    command = [sys.executable, __file__, str(source), json.dumps(commands)]
    if os.geteuid() == 0 and shutil.which("setpriv"):  # root may write whatever the bits say
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def tree(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """Return mode, size, modification time and hash of everything in a folder, and of itself."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        key = path.relative_to(folder).as_posix()
        digest = hashlib.sha256(data).hexdigest()
        found[key] = (status.st_mode, len(data), status.st_mtime_ns, digest)
    return found


def lock_away(folder: Path) -> None:
    """Take away every right to write below a folder."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
