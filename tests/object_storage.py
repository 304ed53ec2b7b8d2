"""An S3 server on this machine, and what tests ask of it."""

from __future__ import annotations

import functools
import logging
import uuid
from pathlib import Path
from typing import Any

import pytest

from archives import hidden
from bcseg.cloud import filesystem

REFUSING = "http://127.0.0.1:9"  # the port "discard": nothing listens there


@functools.cache
def server() -> str:
    """Return the address of moto's S3 server; it ends with the process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    return f"http://{host}:{port}"


def reconnect() -> None:
    """Forget the connection that was made with other variables."""
    filesystem.filesystem.cache_clear()


def put_at_once(bucket: str, objects: dict[str, bytes]) -> None:
    """Give the server many objects without asking it for each."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    for key, data in objects.items():
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, data)


class Bucket:
    """A new bucket."""

    def __init__(self) -> None:
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.s3: Any = filesystem.filesystem("s3")
        self.s3.mkdir(self.name)

    def address(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}".rstrip("/")

    def put(self, folder: Path, key: str) -> str:
        """Upload a folder or file; return its address."""
        if folder.is_file():
            self.s3.pipe_file(f"{self.name}/{key}", folder.read_bytes())
        for path in folder.rglob("*"):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                self.s3.pipe_file(f"{self.name}/{key}/{name}", path.read_bytes())
        return self.address(key)

    def names(self, key: str = "") -> list[str]:
        """Return the names of the objects below a key."""
        start = f"{self.name}/{key}".rstrip("/")
        return sorted(name.removeprefix(f"{start}/") for name in self.s3.find(start))

    def everything(self, key: str = "") -> dict[str, tuple[str, str]]:
        """Return time and ETag of all objects below a key."""
        found = self.s3.find(f"{self.name}/{key}".rstrip("/"), detail=True)
        return {n: (str(i["LastModified"]), i["ETag"]) for n, i in dict(found).items()}

    def content(self, key: str) -> dict[str, bytes]:
        """Return every file that the contract of a pairs folder is about."""
        return {
            name: self.s3.cat_file(f"{self.name}/{key}/{name}")
            for name in self.names(key)
            if not hidden(Path(name))
        }


@pytest.fixture
def credentials(monkeypatch, tmp_path):
    """Set what an S3 client looks for, so that nothing of this machine is used."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def bucket(credentials, monkeypatch):
    """Return a new bucket on the server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server())
    reconnect()
    yield Bucket()
    reconnect()
