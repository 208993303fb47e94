"""A local server that speaks as much of the Hugging Face Hub's protocol as pushing and reading a data set takes.

    with serving() as hub:                  # hub.url is the endpoint
        hub.faults = random_faults(0, 1 / 3)

Faults are decided for each request by its number, method and path.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_faults import Fault, Faults
from tests.hub_store import LARGE, Commit, Refused, Repository, Store

TOKEN = "hf_test_token_of_the_stand_in"
READ_ONLY = "hf_read_only"


class Hub(Store):
    """The stand-in: what it remembers, how it fails, what it was asked.

    Attributes:
        url: Its endpoint.
        faults: Decides what goes wrong.
        asked: "METHOD path" of every request, in order.
        failed: How many of them were made to fail.
        page: Entries of one page of a file listing.
        part_bytes: Objects above this come in parts of this many bytes.
        before_commit: Called before a commit is applied, for what another process may do at that moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.faults: Faults | None = None
        self.asked: list[str] = []
        self.failed = 0
        self.page = 1000
        self.part_bytes = 1 << 30
        self.before_commit: Callable[[], None] | None = None

    def next_fault(self, method: str, path: str) -> Fault | None:
        """Note a request and decide its fate."""
        with self.lock:
            self.asked.append(f"{method} {path}")
            fault = self.faults(len(self.asked) - 1, method, path) if self.faults else None
            self.failed += fault is not None
            return fault


@contextmanager
def serving(hub: Hub | None = None) -> Iterator[Hub]:
    """Serve a stand-in from threads of this process, on a port of the system's choice."""
    hub = hub or Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that was killed is no news
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def published(hub: Hub, name: str = "user/tiny", branch: str = "main") -> dict[str, bytes]:
    """What the head of a branch holds, by path."""
    commit = hub.repositories[name].history(branch)[-1]
    return {path: hub.read(entry) for path, entry in commit.files.items()}


class _Cut(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the body waits 40 ms for the client to have acknowledged the headers

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        fault = self.hub.next_fault(self.command, path) or Fault()
        try:
            threading.Event().wait(fault.delay)  # a test may have taken `time.sleep` away
            body = self._body(path, fault)
            if fault.status:
                self._answer(fault.status, b"<html>this is no JSON</html>", fault.headers)
                return
            try:
                with self.hub.lock:
                    status, content, headers = self._route(path, body)
            except Refused as refused:
                headers = {"X-Error-Code": refused.code} if refused.code else {}
                status, content = refused.status, {"error": str(refused), "url": refused.url}
                headers["X-Error-Message"] = str(refused)
            if fault.silent:
                raise _Cut
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            if fault.body is not None and status < 400:
                data, headers = fault.body, {}
            self._answer(status, data, headers)
        except (_Cut, ConnectionError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self, path: str, fault: Fault) -> bytes:
        """The body; a large object's bytes are counted as they come."""
        found = re.fullmatch(r"/lfs/([0-9a-f]{64})(?:/\d+)?", path)
        length = int(self.headers.get("Content-Length", 0))
        stop = length // 2 if fault.kill else int(length * fault.cut) if fault.cut is not None else None
        chunks, held = [], 0
        if fault.cut == 0:
            raise _Cut
        for chunk in self._chunks(length):
            chunks.append(chunk)
            held += len(chunk)
            if found and self.command == "PUT":
                with self.hub.lock:
                    self.hub.received[found[1]] += len(chunk)
            if stop is not None and held >= stop:
                break
        if fault.kill:
            os.kill(fault.kill, signal.SIGKILL)
        if stop is not None:
            raise _Cut
        return b"".join(chunks)

    def _chunks(self, length: int) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        while length > 0:
            chunk = self.rfile.read(min(length, 1 << 12))
            if not chunk:
                raise _Cut
            length -= len(chunk)
            yield chunk

    def _route(self, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command.replace("HEAD", "GET"):
                result = answer(self, body, *found.groups())
                return result if isinstance(result, tuple) else (200, result, {})
        raise Refused(404, f"no such page: {self.command} {path}")

    def _user(self, write: bool = True) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.hub.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        user, may_write = self.hub.tokens[token]
        if write and not may_write:
            raise Refused(403, "You don't have the rights to write with this token")
        return user

    def _repository(self, name: str) -> Repository:
        repository = self.hub.repositories.get(name)
        if repository is not None and repository.private:
            try:
                self._user(write=False)
            except Refused:
                repository = None
        if repository is None:
            raise Refused(404, "Repository not found", "RepoNotFound")
        return repository

    def _commit_of(self, name: str, revision: str) -> Commit:
        commit = self._repository(name).resolve(revision)
        if commit is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def whoami(self, _: bytes) -> dict:
        return {"name": self._user(write=False), "type": "user", "orgs": []}

    def create(self, body: bytes) -> dict:
        wanted = json.loads(body)
        user = self._user()
        if wanted["organization"] != user:
            raise Refused(403, f"You don't have the rights to create a dataset under the namespace "
                               f"\"{wanted['organization']}\"")
        name = f"{user}/{wanted['name']}"
        try:
            self.hub.create(name, wanted.get("visibility") == "private" or bool(wanted.get("private")))
        except Refused as refused:
            raise Refused(refused.status, str(refused), url=f"{self.hub.url}/datasets/{name}") from None
        return {"url": f"{self.hub.url}/datasets/{name}"}

    def info(self, _: bytes, name: str, revision: str | None = None) -> dict:
        commit = self._commit_of(name, revision or "main")
        return {
            "id": name, "sha": commit.oid, "private": self._repository(name).private, "tags": [], "downloads": 0,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }

    def refs(self, _: bytes, name: str) -> dict:
        branches = self._repository(name).branches.items()
        listed = [{"name": key, "ref": f"refs/heads/{key}", "targetCommit": oid} for key, oid in branches]
        return {"branches": listed, "converts": [], "tags": []}

    def branch(self, body: bytes, name: str, branch: str) -> dict:
        self._user()
        repository = self._repository(name)
        if branch in repository.branches:
            raise Refused(409, "Reference already exists")
        start = json.loads(body or b"{}").get("startingPoint", "main")
        repository.branches[branch] = self._commit_of(name, start).oid
        return {}

    def tree(self, _: bytes, name: str, revision: str, below: str | None = None) -> tuple[int, list, dict]:
        entries = _entries(self._commit_of(name, revision), below or "", "recursive=true" in self.path.lower())
        if below and not entries:
            raise Refused(404, f"{below} does not exist", "EntryNotFound")
        start = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        page = entries[start : start + self.hub.page]
        if start + self.hub.page >= len(entries):
            return 200, page, {}
        following = re.sub(r"[?&]cursor=\d+", "", self.path)
        following += f"{'&' if '?' in following else '?'}cursor={start + self.hub.page}"
        return 200, page, {"Link": f'<{self.hub.url}{following}>; rel="next"'}

    def paths(self, body: bytes, name: str, revision: str) -> list:
        wanted = parse_qs(body.decode())["paths"]
        return [each for each in _all_entries(self._commit_of(name, revision)) if each["path"] in wanted]

    def preupload(self, body: bytes, name: str, revision: str) -> dict:
        self._user()
        files = self._commit_of(name, revision).files
        return {"files": [
            {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
             "shouldIgnore": False, "oid": _known(files.get(each["path"]))}
            for each in json.loads(body)["files"]
        ]}

    def batch(self, body: bytes, name: str) -> dict:
        self._user()
        self._repository(name)
        return {"transfer": "basic", "objects": [self._upload_action(each) for each in json.loads(body)["objects"]]}

    def _upload_action(self, wanted: dict) -> dict:
        oid, size, part = wanted["oid"], wanted["size"], self.hub.part_bytes
        if oid in self.hub.objects:
            return {"oid": oid, "size": size}
        verify = {"href": f"{self.hub.url}/lfs-verify"}
        if size <= part:
            upload = {"href": f"{self.hub.url}/lfs/{oid}"}
        else:
            urls = {str(n + 1): f"{self.hub.url}/lfs/{oid}/{n + 1}" for n in range(-(-size // part))}
            upload = {"href": f"{self.hub.url}/lfs-complete/{oid}", "header": {"chunk_size": str(part), **urls}}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}

    def upload(self, body: bytes, oid: str) -> bytes:
        self.hub.put(oid, body)
        return b""

    def upload_part(self, body: bytes, oid: str, number: str) -> tuple[int, bytes, dict]:
        self.hub.parts[oid, int(number)] = body
        return 200, b"", {"ETag": f'"{oid[:8]}-{number}"'}

    def complete(self, body: bytes, oid: str) -> dict:
        parts = [self.hub.parts[oid, each["partNumber"]] for each in json.loads(body)["parts"]]
        self.hub.put(oid, b"".join(parts))
        return {}

    def verify(self, body: bytes) -> dict:
        self._user()
        asked = json.loads(body)
        if len(self.hub.objects.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "the object is not there")
        return {}

    def validate(self, _: bytes) -> dict:
        return {"errors": [], "warnings": []}

    def commit(self, body: bytes, name: str, branch: str) -> dict:
        self._user()
        if self.hub.before_commit:
            self.hub.before_commit()
        repository = self._repository(name)
        made = self.hub.commit(repository, branch, [json.loads(line) for line in body.splitlines()])
        url = f"{self.hub.url}/datasets/{name}/commit/{made.oid}"
        return {"success": True, "commitOid": made.oid, "commitUrl": url}

    def resolve(self, _: bytes, name: str, revision: str, path: str) -> tuple[int, bytes, dict]:
        commit = self._commit_of(name, revision)
        entry = commit.files.get(path)
        if entry is None:
            raise Refused(404, "Entry not found", "EntryNotFound")
        data, etag = self.hub.read(entry), entry.sha256 or entry.oid
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{etag}"', "Accept-Ranges": "bytes",
                   "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(entry.size)}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return 200, data, headers
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        return 206, data[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}


def _known(entry: Any) -> str | None:
    return None if entry is None else entry.sha256 or entry.oid


def _all_entries(commit: Commit) -> list[dict]:
    folders = {"/".join(path.split("/")[:depth]) for path in commit.files for depth in range(1, path.count("/") + 1)}
    listed = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in folders]
    for path, entry in commit.files.items():
        row = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.sha256:
            row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 134}
        listed.append(row)
    return sorted(listed, key=lambda row: row["path"])


def _entries(commit: Commit, below: str, recursive: bool) -> list[dict]:
    prefix = f"{below}/" if below else ""
    inside = [each for each in _all_entries(commit) if each["path"].startswith(prefix)]
    return [each for each in inside if recursive or "/" not in each["path"].removeprefix(prefix)]


_NAME, _REV = r"([\w.-]+/[\w.-]+)", r"([^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", f"/api/datasets/{_NAME}", _Handler.info),
    ("GET", f"/api/datasets/{_NAME}/revision/(.+)", _Handler.info),
    ("GET", f"/api/datasets/{_NAME}/refs", _Handler.refs),
    ("POST", f"/api/datasets/{_NAME}/branch/{_REV}", _Handler.branch),
    ("GET", f"/api/datasets/{_NAME}/tree/{_REV}(?:/(.+))?", _Handler.tree),
    ("POST", f"/api/datasets/{_NAME}/paths-info/{_REV}", _Handler.paths),
    ("POST", f"/api/datasets/{_NAME}/preupload/{_REV}", _Handler.preupload),
    ("POST", f"/api/datasets/{_NAME}/commit/{_REV}", _Handler.commit),
    ("POST", rf"/datasets/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/lfs/([0-9a-f]{64})", _Handler.upload),
    ("PUT", r"/lfs/([0-9a-f]{64})/(\d+)", _Handler.upload_part),
    ("POST", "/lfs-complete/([0-9a-f]{64})", _Handler.complete),
    ("POST", "/lfs-verify", _Handler.verify),
    ("GET", f"/datasets/{_NAME}/resolve/{_REV}/(.+)", _Handler.resolve),
]
