"""Publishing a run on the Hugging Face Hub: only what changed travels, in one commit, and can be cut at any point."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from synthesis.card import published, refreshed
from synthesis.errors import InputError, RunError, one_line
from synthesis.files import locked, reading, write_file
from synthesis.hub_check import read_back
from synthesis.hub_files import CARD, MANIFEST, LocalFile, check_shards, identity_of, local_folders, published_files
from synthesis.hub_patience import Patience, insisting, may_pass
from synthesis.hub_repository import HubRepository, Remote, RemoteFile, plain_http
from synthesis.licence_sources import load_licence, save_licence
from synthesis.licences import Licence, Statement, inherit

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class PushSettings:
    """Where a run goes, and how.

    Attributes:
        repository: "user/name".
        private: Whether a new repository is seen by its owners alone.
        branch: The branch.
        stated: A licence that the user states.
        replace: Whether files of others, or of another run, may be overwritten.
        dry: Only look and say.
        offline: With `dry`, do not even look: as though the repository did not exist.
    """

    repository: str
    private: bool = False
    branch: str = "main"
    stated: Statement | None = None
    replace: bool = False
    dry: bool = False
    offline: bool = False


@dataclass(frozen=True)
class PushPlan:
    """What a push does.

    Attributes:
        send: Files that are new or changed.
        keep: Files that are there already.
        remove: Paths that an earlier push put there and the run has no more.
        rows: Rows of the data set.
        licence: What it is published under.
        remote: The repository as it was found; None where it has to be made.
    """

    send: tuple[LocalFile, ...]
    keep: tuple[LocalFile, ...]
    remove: tuple[str, ...]
    rows: int
    licence: Licence
    remote: Remote | None

    @property
    def bytes(self) -> int:
        """Bytes to send."""
        return sum(file.size for file in self.send)


@dataclass(frozen=True)
class PushResult:
    """What a push did.

    Attributes:
        plan: What was to be done.
        url: Where the data set is.
        commit: Its commit; "" where nothing had to be done, or nothing was to be.
        compared: Rows that were read back and are the same.
    """

    plan: PushPlan
    url: str
    commit: str = ""
    compared: int = 0


@dataclass(frozen=True)
class _Ready:
    card: str
    licence: Licence
    rows: int
    files: Sequence[LocalFile] = field(repr=False)


def push(root: Path, settings: PushSettings, say: Callable[[str], None] = lambda line: None) -> PushResult:
    """Publish a run.

    Large files are sent one after the other, then one commit makes them seen. Interrupted, the same call sends what had
    not arrived. A run that has grown sends its new shards.

    Args:
        root: The run directory.
        settings: Where to and how.
        say: Told what is contacted and done, a line at a time.

    Raises:
        InputError: The folder is no run, the licence is not known and not stated, the token or the repository is wrong.
        RunError: A shard is damaged, the Hub fails for good, or somebody else pushed at the same time.
    """
    from huggingface_hub import constants, get_token

    if not _NAME.fullmatch(settings.repository):
        raise InputError(f"repository {settings.repository!r} is not of the form user/name")
    if settings.offline and not settings.dry:
        raise InputError("--offline goes with --dry-run: a push has to contact the Hub")
    identity_of(root)
    endpoint, token = constants.ENDPOINT, None if settings.offline else get_token()
    if not settings.dry and token is None:
        raise InputError(f"there is no token for {endpoint}; set HF_TOKEN, or run `hf auth login`")
    hub = HubRepository(settings.repository, settings.branch, endpoint, token, say)
    with reading(root) if settings.dry else locked(root), plain_http():
        ready = _prepare(root, settings)
        if not settings.offline:
            say(f"contacting {endpoint} about the data set {settings.repository}")
        if settings.stated is not None and not settings.dry:
            settings = replace(settings, stated=replace(settings.stated, by=hub.user()))
            ready = _prepare(root, settings)
        plan = _plan(root, settings, ready, None if settings.offline else hub.look())
        url = f"{endpoint}/datasets/{settings.repository}"
        if settings.dry:
            return PushResult(plan, url)
        save_licence(root, plan.licence)
        write_file(root / CARD, ready.card)
        if plan.remote is not None and not plan.send and not plan.remove:
            return PushResult(plan, url)
        commit = _send(hub, settings, plan, say)
        say("reading some rows back")
        patient = Patience(endpoint, f"data set {settings.repository}", say)
        return PushResult(plan, url, commit, _compared(root, settings.repository, commit, token, patient))


def _prepare(root: Path, settings: PushSettings) -> _Ready:
    """Card, licence and files as they are to be published; nothing is written yet."""
    try:
        text = (root / CARD).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{str(root)!r} has no {CARD}; run it to its end first") from error
    rows = check_shards(root, text)
    licence = load_licence(root)
    if settings.stated is not None:
        licence = inherit(licence.sources, settings.stated)
    if licence.missing:
        raise InputError(
            f"the licence of {str(root)!r} has to be stated: {licence.missing}; read the terms of these sources and "
            "state what you publish under, as in --licence cc-by-4.0"
        )
    text = refreshed(text, root, licence)
    on_the_hub = published(text, settings.repository, settings.branch)
    return _Ready(text, licence, rows, published_files(root, on_the_hub))


def _plan(root: Path, settings: PushSettings, ready: _Ready, remote: Remote | None) -> PushPlan:
    there: Mapping[str, RemoteFile] = remote.files if remote else {}
    keep = tuple(file for file in ready.files if file.path in there and there[file.path].is_same(file))
    send = tuple(file for file in ready.files if file not in keep)
    remove: tuple[str, ...] = ()
    if remote is not None:
        _check_theirs(root, settings, remote, send)
        mine = {file.path for file in ready.files}
        remove = tuple(sorted(path for path in remote.put_here if path in there and path not in mine))
    return PushPlan(send, keep, remove, ready.rows, ready.licence, remote)


def _check_theirs(root: Path, settings: PushSettings, remote: Remote, send: Sequence[LocalFile]) -> None:
    """Refuse to make public what was to be private, to mix two data sets, or to overwrite what others wrote."""
    name = settings.repository
    if settings.private and not remote.private:
        raise InputError(f"data set {name} exists and is public, and --private was asked for; choose another --repo, "
                         "or change its visibility on the Hub first")
    mixed = [path for path in remote.files
             if path.startswith("data/") and path.endswith(".parquet") and path not in remote.put_here]
    if mixed:
        raise InputError(f"data set {name} holds {mixed[0]!r}, which no push of this tool put there and which would be "
                         "mixed with the run's rows; choose another --repo, or remove it on the Hub first")
    if settings.replace:
        return
    if remote.identity and remote.identity != identity_of(root):
        raise InputError(f"data set {name} holds the run {remote.identity} and {str(root)!r} is {identity_of(root)}; "
                         "choose another --repo, or add --replace to put this run in its place")
    theirs = [file.path for file in send if file.path in remote.files and file.path not in remote.put_here]
    if theirs:
        raise InputError(f"data set {name} holds {theirs[0]!r}, which no push of this tool put there; choose another "
                         "--repo, or add --replace to overwrite it")


def _send(hub: HubRepository, settings: PushSettings, plan: PushPlan, say: Callable[[str], None]) -> str:
    remote = plan.remote
    if remote is None:
        remote = hub.create(settings.private)
        say(f"made the {'private' if remote.private else 'public'} data set {settings.repository}")
    if not remote.has_branch:
        hub.create_branch(remote.head)
    operations = []
    for number, file in enumerate(plan.send, 1):
        say(f"{number} of {len(plan.send)}: {file.path} ({size_text(file.size)})")
        operations.append(hub.send(file))

    def reached(files: Mapping[str, RemoteFile]) -> bool:
        sent = all(file.path in files and files[file.path].is_same(file) for file in plan.send)
        return sent and not any(path in files for path in plan.remove)

    say("committing")
    return hub.commit(operations, plan.remove, remote.head, f"{plan.rows} rows, by terrasynth", reached)


def _compared(root: Path, repository: str, commit: str, token: str | None, patient: Patience) -> int:
    try:
        with insisting(patient):
            return patient(lambda: read_back(root, repository, commit, token), may_pass)
    except (RunError, InputError):
        raise
    except Exception as error:
        raise RunError(f"{repository} was pushed as commit {commit[:8]}, but its rows could not be read back "
                       f"({type(error).__name__}: {one_line(error)[:160]}); look at it on the Hub") from error


def size_text(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def notes(root: Path, plan: PushPlan) -> list[str]:
    """What the user should know before it is public."""
    found = [f"recipe.yaml names a folder of this machine: {folder}" for folder in local_folders(root)]
    if any(file.path == MANIFEST for file in plan.send) and plan.remote is None:
        found.append("nothing of blocks/ and scores/ is published: the run is needed to grow the data set")
    return found
