"""The Hub's server, as far as a data set is read from it: on loopback, with the environment of its clients."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """The few answers that the Hub's client needs: the set's facts, its tree, its files."""

    files: ClassVar[dict[str, bytes]] = {}

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        told = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        try:
            paths = json.loads(told).get("paths", [])
        except json.JSONDecodeError:
            paths = [unquote(part.partition("=")[2]) for part in told.split("&") if part.startswith("paths=")]
        paths = [paths] if isinstance(paths, str) else paths
        self._json([entry for entry in self._tree() if entry["path"] in paths])

    def _answer(self, body: bool = True) -> None:
        path = unquote(urlsplit(self.path).path)
        if not path.removeprefix("/api").startswith("/datasets/own/er"):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif "/resolve/" in path:
            self._file(path.split("/resolve/")[1].partition("/")[2], body)
        elif "/tree/" in path:
            folder = path.split("/tree/")[1].partition("/")[2]
            self._json([entry for entry in self._tree() if entry["path"].startswith(folder)])
        else:
            self._json(
                {"id": "own/er", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            )

    def _tree(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name, content in self.files.items():
            for parent in list(Path(name).parents)[:-1]:
                found[str(parent)] = {"type": "directory", "path": str(parent), "oid": "d" * 40, "size": 0}
            oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            found[name] = {"type": "file", "path": name, "oid": oid, "size": len(content)}
        return list(found.values())

    def _file(self, name: str, body: bool) -> None:
        content = self.files.get(name)
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size, status, span = len(content), 200, self.headers.get("Range")
        if span:
            start, _, end = span.removeprefix("bytes=").partition("-")
            content = content[int(start) : int(end) + 1 if end else None]
            status = 206
        self.send_response(status)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{int(start) + len(content) - 1}/{size}")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(self.files[name], usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(files: Mapping[str, bytes], home: Path) -> Iterator[dict[str, str]]:
    """Serve the data set `own/er`; yield the environment of a client that keeps its cache in `home`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Hub,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        }
    finally:
        server.shutdown()
        server.server_close()
