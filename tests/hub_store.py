"""What the stand-in for the Hugging Face Hub remembers: repositories, their commits, and large objects."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field

LARGE = (".parquet", ".png", ".jpg", ".webp", ".tar")  # what the Hub's .gitattributes sends to large file storage
FIRST_FILE = ".gitattributes"


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its bytes, or the hash of the large object that holds them."""

    size: int
    oid: str
    content: bytes | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Commit:
    """One commit of a branch."""

    oid: str
    parent: str | None
    summary: str
    files: dict[str, Entry]


@dataclass
class Repository:
    """A data set on the stand-in."""

    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def history(self, branch: str = "main") -> list[Commit]:
        """The commits of a branch, oldest first."""
        found, oid = [], self.branches[branch]
        while oid is not None:
            found.append(self.commits[oid])
            oid = self.commits[oid].parent
        return found[::-1]

    def resolve(self, revision: str) -> Commit | None:
        """The commit of a branch name or of a hash."""
        return self.commits.get(self.branches.get(revision, revision))


class Refused(Exception):
    """A request that the Hub answers with an error status."""

    def __init__(self, status: int, message: str, code: str = "", url: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.url = status, code, url


class Store:
    """All repositories and large objects, and a count of what arrived.

    Attributes:
        tokens: Token -> (user, may write).
        received: Bytes of bodies by large object, whether or not the upload ended well.
        uploads: Uploads that ended well, by large object (by part, too, where it came in parts).
    """

    def __init__(self) -> None:
        self.tokens = {"hf_test_token_of_the_stand_in": ("user", True), "hf_read_only": ("user", False)}
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.received: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()
        self.lock = threading.RLock()

    def create(self, name: str, private: bool) -> None:
        """Make a repository with its first commit."""
        if name in self.repositories:
            raise Refused(409, "You already created this dataset repo")
        repository = self.repositories[name] = Repository(private)
        rules = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE).encode()
        self._add(repository, "main", None, "initial commit", {FIRST_FILE: small(rules)})

    def edit(self, name: str, files: dict[str, bytes]) -> None:
        """Commit small files to `main`, as somebody on the Hub's pages does."""
        repository = self.repositories[name]
        head = repository.branches["main"]
        self._add(repository, "main", head, "theirs",
                  {**repository.commits[head].files, **{path: small(content) for path, content in files.items()}})

    def commit(self, repository: Repository, branch: str, lines: list[dict]) -> Commit:
        """Apply the lines of a commit request."""
        header = lines[0]["value"]
        head = repository.branches[branch]
        if header.get("parentCommit") not in (None, head):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[head].files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = small(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    raise Refused(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
                files[value["path"]] = large(value["oid"], len(self.objects[value["oid"]]))
            elif value["path"] not in files:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            else:
                del files[value["path"]]
        return self._add(repository, branch, head, header["summary"], files)

    def put(self, oid: str, data: bytes) -> None:
        """Keep a large object that arrived whole."""
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refused(400, "the content does not have the announced hash")
        self.objects[oid] = data
        self.uploads[oid] += 1

    def read(self, entry: Entry) -> bytes:
        """The bytes of a file."""
        return self.objects[entry.sha256] if entry.content is None else entry.content

    def _add(self, repository: Repository, branch: str, parent: str | None, summary: str, files: dict) -> Commit:
        listed = json.dumps([parent, summary, sorted((path, entry.oid) for path, entry in files.items())])
        oid = hashlib.sha1(listed.encode()).hexdigest()
        repository.commits[oid] = Commit(oid, parent, summary, files)
        repository.branches[branch] = oid
        return repository.commits[oid]


def small(content: bytes) -> Entry:
    """A file that lies in the repository itself, under its git hash."""
    return Entry(len(content), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(), content)


def large(sha256: str, size: int) -> Entry:
    """A file of which the repository holds a pointer."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return Entry(size, small(pointer).oid, None, sha256)
