"""A data set repository on the Hugging Face Hub: what is in it, and how files get there in one commit."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.storage.object_path import ObjectPath
from terrasynth.synthesis.hub.files import MANIFEST, LocalFile, Manifest, ManifestEntry
from terrasynth.synthesis.hub.patience import (
    AGAIN,
    TRIES,
    Patience,
    is_passing,
    may_pass,
    retry_after,
    root_cause,
    status_of,
)

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.hf_api import DatasetInfo

KIND = "dataset"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
LARGE = (".parquet", ".tar", *PICTURES)  # sent ahead of the commit, one after the other
_HASH = re.compile(r"[0-9a-f]{40,64}")
TOGETHER = 50  # images that are announced in one request


@dataclass(frozen=True)
class RemoteFile:
    """A file of the repository: its bytes' hash in large file storage, or the one git gives it."""

    size: int
    sha256: str | None
    git_sha1: str

    def is_same(self, file: LocalFile | ManifestEntry) -> bool:
        """Whether a file that is here, or was pushed before, has the same content."""
        if self.size != file.size:
            return False
        return self.sha256 == file.sha256 if self.sha256 else self.git_sha1 == file.git_sha1


@dataclass(frozen=True)
class Remote:
    """The repository as it was found.

    Attributes:
        head: Commit that a push goes on from.
        private: Whether only its owners see it.
        has_branch: Whether the branch exists; if not, it will start from `head` of `main`.
        put_here: What an earlier push put there and nobody has changed since, by the hashes of its manifest.
        changed: What an earlier push put there and somebody has changed since.
        kind: What was pushed there: "run", "parquet export"; "" where nothing was.
        identity: Of the run or export that was pushed there; "" where none was.
    """

    head: str
    private: bool
    has_branch: bool
    files: Mapping[str, RemoteFile]
    put_here: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    kind: str = ""
    identity: str = ""


class HubRepository:
    """Speaks with the Hub about one data set.

    Args:
        name: "user/name".
        branch: The branch that is pushed to.
        token: Access token; None for none.
        tries: How often a request is made that fails for a while.
    """

    def __init__(self, name: str, branch: str, endpoint: str, token: str | None, say: Callable[[str], None],
                 tries: int = TRIES) -> None:
        from huggingface_hub import HfApi

        self.name, self.branch, self.endpoint = name, branch, endpoint
        self._api = HfApi(endpoint=endpoint, token=token or False, library_name="terrasynth")
        self._patient = Patience(endpoint, f"data set {name}", say, tries)

    def user(self) -> str:
        """The name of the token's owner."""
        return self._patient(lambda: str(self._api.whoami()["name"]))

    def look(self) -> Remote | None:
        """What there is; None where there is no such repository, or the token may not see it."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        has_branch = True
        try:
            info = self._ask(lambda: self._whole_info(self.branch))
        except RepositoryNotFoundError:
            return None
        except RevisionNotFoundError:
            has_branch = False
            info = self._ask(lambda: self._whole_info(None))
        head = commit_hash(info.sha)
        files = self._files(head)
        noted = self._manifest(head) if MANIFEST in files else None
        if noted is None:
            return Remote(head, bool(info.private), has_branch, files)
        there = {path: files[path].is_same(each) for path, each in noted.hashes.items() if path in files}
        ours = frozenset(path for path, same in there.items() if same) | {MANIFEST}
        return Remote(head, bool(info.private), has_branch, files, ours, frozenset(there) - ours, noted.kind,
                      noted.identity)

    def _whole_info(self, branch: str | None) -> DatasetInfo:
        """What the Hub says of the repository; another server may have answered, so that it has to name a head."""
        info = self._api.dataset_info(self.name, revision=branch)
        commit_hash(info.sha)
        return info

    def create(self, private: bool) -> Remote:
        """Make the repository; where it is not to be private, it is what its owner's settings say.

        Raises:
            InputError: The token may not.
        """
        self._patient(lambda: self._api.create_repo(self.name, repo_type=KIND, private=private or None, exist_ok=True))
        found = self.look()
        if found is None:
            raise RunError(f"data set {self.name} was made at {self.endpoint} and is not shown yet; {AGAIN}")
        return found

    def create_branch(self, head: str) -> None:
        """Make the branch, from a commit."""
        self._patient(
            lambda: self._api.create_branch(self.name, branch=self.branch, revision=head, repo_type=KIND, exist_ok=True)
        )

    def send(self, files: Sequence[LocalFile]) -> list[CommitOperationAdd]:
        """Send large files ahead of their commit; what arrived before is not sent again, though it is announced."""
        operations = [_addition(file) for file in files]
        large = [each for each in operations if each.path_in_repo.endswith(LARGE)]
        if large:
            self._patient(lambda: self._api.preupload_lfs_files(
                self.name, large, repo_type=KIND, revision=self.branch, num_threads=1, free_memory=False
            ))
        return operations

    def commit(
        self, operations: Sequence[CommitOperationAdd], removed: Sequence[str], parent: str, message: str,
        wanted: Callable[[Mapping[str, RemoteFile]], bool],
    ) -> str:
        """Make one commit of everything, and give its hash.

        An answer can be lost after the commit was made, so before another try the branch is looked at.

        Args:
            parent: The commit that this one goes on from.
            wanted: Whether a listing is what this commit leads to.

        Raises:
            RunError: Somebody else committed in between.
        """
        from huggingface_hub import CommitOperationDelete

        deletions = [CommitOperationDelete(path, is_folder=False) for path in removed]
        for number in range(TRIES):
            try:
                return commit_hash(self._api.create_commit(
                    self.name, [*operations, *deletions], commit_message=message, repo_type=KIND,
                    revision=self.branch, parent_commit=parent,
                ).oid)
            except Exception as error:
                cause = root_cause(error)
                if not is_passing(cause) and status_of(cause) not in (409, 412):
                    raise self._patient.explained(cause) from error
                head = self._head()
                if head != parent and wanted(self._files(head)):
                    return head  # the commit was made, and its answer was lost
                if head != parent or number == TRIES - 1 or status_of(cause) == 412:
                    raise self._conflict(parent, head, cause) from error
                self._patient.wait(number, retry_after(cause))
        raise AssertionError("the last try returns or raises")

    def _conflict(self, parent: str, head: str, cause: BaseException) -> Exception:
        if head == parent:
            return self._patient.explained(cause)
        return RunError(f"somebody else pushed to {self.name} at {self.endpoint} meanwhile (it was at {parent[:8]} and "
                        f"is at {head[:8]}); nothing of this push was committed; {AGAIN}")

    def _head(self) -> str:
        return self._patient(lambda: commit_hash(self._api.dataset_info(self.name, revision=self.branch).sha))

    def _files(self, commit: str) -> dict[str, RemoteFile]:
        def listed() -> dict[str, RemoteFile]:
            from huggingface_hub.hf_api import RepoFile

            tree = self._api.list_repo_tree(self.name, recursive=True, revision=commit, repo_type=KIND)
            return {
                each.path: RemoteFile(each.size, each.lfs.sha256 if each.lfs else None, each.blob_id)
                for each in tree if isinstance(each, RepoFile)
            }

        return self._patient(listed)

    def _manifest(self, commit: str) -> Manifest | None:
        """What the last push noted; None where a file of its name says nothing of the kind."""

        def read() -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                path = self._api.hf_hub_download(
                    self.name, MANIFEST, repo_type=KIND, revision=commit, local_dir=folder
                )
                with open(path, "rb") as file:
                    return file.read()

        try:
            return Manifest.read(json.loads(self._patient(read, may_pass)))
        except (ValueError, RecursionError):
            return None

    def _ask(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the call gives
        """Like `_patient`, but a repository or branch that is not there raises what `huggingface_hub` raises."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            return self._patient(call)
        except Exception as error:
            if isinstance(error.__cause__, RepositoryNotFoundError | RevisionNotFoundError):
                raise error.__cause__ from None
            raise


def commit_hash(text: object) -> str:
    """A commit's hash as the Hub gives it.

    Raises:
        ValueError: It is none; something else than the Hub answered.
    """
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        raise ValueError(f"{text!r:.40} is no hash of a commit")
    return text


def in_parts(files: Sequence[LocalFile]) -> Iterator[list[LocalFile]]:
    """Files as they are sent: images that follow one another up to `TOGETHER` at once, any other file alone."""
    part: list[LocalFile] = []
    for file in files:
        if part and (len(part) == TOGETHER or not (part[-1].path.endswith(PICTURES) and file.path.endswith(PICTURES))):
            yield part
            part = []
        part.append(file)
    if part:
        yield part


def _addition(file: LocalFile) -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    if isinstance(file.source, ObjectPath):
        return CommitOperationAdd(file.path, cast("BinaryIO", file.source.open("rb")))
    source = file.source if isinstance(file.source, bytes) else str(file.source)
    return CommitOperationAdd(file.path, source)


@contextmanager
def plain_http() -> Iterator[None]:
    """Large files go by Git LFS over HTTP, a file at a time, also where `hf_xet` is installed.

    That is the way whose interruptions are tested; `hf_xet` has a protocol and a cache of its own. Afterwards the
    client of `huggingface_hub` is as patient as before.
    """
    from huggingface_hub import constants, get_session

    before, timeout = constants.HF_HUB_DISABLE_XET, get_session().timeout
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before
        get_session().timeout = timeout
