"""A root to review, and a real review server in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archives import finished

SERVE = """
import json, sys
from pathlib import Path
from bcseg.review.server import open_session, serve
from bcseg.review.settings import Reviewing

how = Reviewing(**json.loads(sys.argv[3]))
with open_session(Path(sys.argv[1]), how) as session:
    serve(session, int(sys.argv[2]), lambda address: print(address.url, flush=True))
"""


def make_root(folder: Path, *datasets: str) -> Path:
    """Copy finished pairs to a root that may be changed."""
    for dataset in datasets:
        shutil.copytree(finished(dataset), folder / dataset)
    return folder


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; a body that is no bytes becomes JSON from the page itself."""
        method = method or ("GET" if body is None else "POST")
        sent = {"Host": f"127.0.0.1:{self.port}"}
        if method == "POST":
            sent |= {"Origin": f"http://{sent['Host']}", "Content-Type": "application/json"}
        sent |= headers or {}
        sent = {name: value for name, value in sent.items() if value}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            where = f"/{self.token if token is None else token}/{path}"
            connection.putrequest(method, where, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            lower = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, lower, answer.read()

    def json(self, path: str, body: Any = None) -> dict[str, Any]:
        """Send one request that must succeed, return its document."""
        status, _, data = self.ask(path, body)
        assert status == 200, data
        return json.loads(data)

    def decide(self, pair: Mapping[str, Any], decision: str, **more: Any) -> dict[str, Any]:
        """Decide about a pair of the session document."""
        names = ("dataset", "record_id", "annotation_sha256")
        return self.json(
            "api/decide", {name: pair[name] for name in names} | {"decision": decision} | more
        )

    def kill(self) -> None:
        """End it as the system would: no handler runs."""
        self.process.kill()
        self.process.wait(20)


@contextlib.contextmanager
def serving(root: Path, port: int = 0, **how: Any) -> Iterator[Server]:
    """Run a review server until the end of the block."""
    command = [sys.executable, "-c", SERVE, str(root), str(port)]
    command.append(json.dumps({"reviewer": "ann"} | how))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.fullmatch(
            r"http://127\.0\.0\.1:(\d+)/([\w-]{40,})/\n", process.stdout.readline()
        )
        assert found, "the server did not start"
        yield Server(process, int(found[1]), found[2])
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
