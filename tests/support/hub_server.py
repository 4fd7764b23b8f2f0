"""A hub on this machine, in the few words that reading takes: repositories in memory, and faults.

The protocol: https://huggingface.co/docs/hub/api, and the headers that huggingface_hub reads (ETag, X-Repo-Commit,
X-Linked-Etag, X-Linked-Size, X-Error-Code, X-Error-Message).
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

SECRET = "Signature=secret"  # of an address that only its receiver may know
IN_LFS = (".safetensors", ".parquet")
Fault = Callable[["Handler"], bool]  # answers, and says so; or changes how the handler answers


def commit_of(name: str, number: int = 0) -> str:
    return hashlib.sha1(f"{name} {number}".encode()).hexdigest()


class Hub:
    """Repositories by (kind, name), each with the files of its commits; the last one is main.

    Attributes:
        faults: by a pattern of "METHOD path".
        requests: what was asked, as "METHOD path".
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], dict[str, dict[str, bytes]]] = {}
        self.faults: dict[str, Fault] = {}
        self.requests: list[str] = []

    def add(self, kind: str, name: str, *commits: dict[str, bytes]) -> str:
        """Add a repository, or more commits; returns the last one."""
        known = self.repositories.setdefault((kind, name), {})
        for files in commits:
            known[commit_of(name, len(known))] = files
        return list(known)[-1]

    @contextmanager
    def serving(self) -> Iterator[str]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    spoil: Callable[[bytes], bytes] | None = None

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        asked = f"{self.command} {unquote(self.path)}"
        self.hub.requests.append(asked)
        self.spoil = None
        for pattern, fault in self.hub.faults.items():
            if re.search(pattern, asked) and fault(self):
                return
        self.route(unquote(self.path.partition("?")[0]))

    do_HEAD = do_GET

    def route(self, path: str) -> None:
        if found := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/(revision|tree)/([^/]+)/?(.*)", path):
            kind, name, what, revision, below = found.groups()
            files = self.files(kind, name, revision)
            if files is not None:
                facts = {"id": name, "sha": self.commit, "siblings": [{"rfilename": path} for path in files]}
                entries = self.tree(files, below, "recursive=true" in self.path)
                self.answer(json.dumps(facts if what == "revision" else entries).encode())
        elif found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            files = self.files("dataset" if found[1] else "model", found[2], found[3])
            if files is not None:
                self.file(found[4], files)
        elif found := re.fullmatch(r"/blob/(\w+)", path):
            commits = (files for known in self.hub.repositories.values() for files in known.values())
            blobs = {hashlib.sha256(content).hexdigest(): content for files in commits for content in files.values()}
            self.answer(blobs[found[1]])
        else:
            self.answer(b"{}")

    def files(self, kind: str, name: str, revision: str) -> dict[str, bytes] | None:
        commits = self.hub.repositories.get((kind, name))
        if commits is None:
            return self.error(401, "RepoNotFound")
        self.commit = list(commits)[-1] if revision == "main" else revision
        return commits[self.commit] if self.commit in commits else self.error(404, "RevisionNotFound")

    def tree(self, files: dict[str, bytes], below: str, recursive: bool) -> list[dict]:
        """Entries below a folder; of no more than one level."""
        folders = {path.rpartition("/")[0] for path in files if "/" in path and not below}
        entries = [
            {"type": "directory", "path": path, "size": 0, "oid": _git(path.encode())} for path in sorted(folders)
        ]
        for path, content in files.items():
            if path.startswith(below) and (recursive or "/" not in path[len(below) :].strip("/")):
                entries.append({"type": "file", "path": path, "size": len(content), "oid": _git(content)})
                if path.endswith(IN_LFS):
                    sha = hashlib.sha256(content).hexdigest()
                    entries[-1]["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 134}
        return entries

    def file(self, path: str, files: dict[str, bytes]) -> None:
        if path not in files:
            return self.error(404, "EntryNotFound", {"X-Repo-Commit": self.commit})
        content, headers = files[path], {"X-Repo-Commit": self.commit}
        if not path.endswith(IN_LFS):
            return self.answer(content, 200, headers | {"ETag": f'"{_git(content)}"'})
        sha = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(content))}
        store = f"http://localhost:{self.server.server_port}/blob/{sha}?{SECRET}"  # another host than the hub
        return self.answer(b"", 302, headers | {"Location": store})

    def error(self, status: int, code: str | None, headers: dict[str, str] | None = None) -> None:
        named = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
        self.answer(b"{}", status, named | (headers or {}))

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = self.spoil(body) if self.spoil else body
        self.wfile.write(sent)
        self.close_connection = len(sent) < len(body)


def status(code: int, error: str | None = None, headers: dict[str, str] | None = None) -> Fault:
    """Answer with an error."""
    return lambda handler: handler.error(code, error, headers) is None


def says(body: bytes) -> Fault:
    """Answer with something else, as a login page does."""
    return lambda handler: handler.answer(body) is None


def hangs(seconds: float) -> Fault:
    return lambda handler: time.sleep(seconds) is None


def breaks_off(handler: Handler) -> bool:
    """Close the connection without an answer."""
    handler.close_connection = True
    return True


def spoils(change: Callable[[bytes], bytes]) -> Fault:
    """Change the body of the answer, not its length as announced."""

    def fault(handler: Handler) -> bool:
        handler.spoil = change
        return False

    return fault


def flipped(content: bytes) -> bytes:
    """With another last byte."""
    return content[:-1] + bytes([content[-1] ^ 1])


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
