"""Publishing on the Hugging Face Hub: only what changed travels, in one commit, and can be cut at any point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.eval.table import Table
from terrasynth.prompts.addresses import shown
from terrasynth.synthesis.cards.licences import Licence, Statement
from terrasynth.synthesis.core.errors import InputError, RunError, one_line
from terrasynth.synthesis.core.files import locked, reading
from terrasynth.synthesis.hub.files import CARD, MANIFEST, LocalFile, with_manifest
from terrasynth.synthesis.hub.folder import Folder, folder_at
from terrasynth.synthesis.hub.names import check_branch, check_endpoint, check_repository
from terrasynth.synthesis.hub.patience import TRIES, Patience, UnreachableError, insisting, may_pass
from terrasynth.synthesis.hub.repository import HubRepository, Remote, RemoteFile, in_parts, plain_http

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

@dataclass(frozen=True)
class PushSettings:
    """Where a folder goes, and how.

    Attributes:
        repository: "user/name".
        private: Whether a new repository is seen by its owners alone.
        stated: A licence that the user states.
        replace: Whether files of others, or of another run or export, may be overwritten.
        dry: Only look and say.
        offline: With `dry`, do not even look: as though the repository did not exist.
        ignore_review: Publish although reviewers said what the run has not taken in.
    """

    repository: str
    private: bool = False
    branch: str = "main"
    stated: Statement | None = None
    replace: bool = False
    dry: bool = False
    offline: bool = False
    ignore_review: bool = False


@dataclass(frozen=True)
class PushPlan:
    """What a push does.

    Attributes:
        send: Files that are new or changed.
        keep: Files that are there already.
        remove: Paths that an earlier push put there, nobody has changed, and the folder has no more.
        remote: The repository as it was found; None where it has to be made.
        notes: What the user should know before it is public.
    """

    send: tuple[LocalFile, ...]
    keep: tuple[LocalFile, ...]
    remove: tuple[str, ...]
    rows: int
    licence: Licence
    remote: Remote | None
    notes: Sequence[str] = ()

    @property
    def bytes(self) -> int:
        """Bytes to send."""
        return sum(file.size for file in self.send)


@dataclass(frozen=True)
class PushResult:
    """What a push did.

    Attributes:
        commit: Its commit; "" where nothing had to be done, or nothing was to be.
        compared: How much was read back and is the same.
        what: Of which kind that was, in words.
        asked: Whether the Hub said what is there; a dry run goes on where it cannot be reached.
    """

    plan: PushPlan
    url: str
    commit: str = ""
    compared: int = 0
    what: str = ""
    asked: bool = True

    def _repr_html_(self) -> str:
        plan = self.plan
        found = {"data set": self.url, "rows": f"{plan.rows:,}", "sent" if self.commit else "to send":
                 f"{len(plan.send)} files, {size_text(plan.bytes)}", "there already": f"{len(plan.keep)} files",
                 "to remove" if not self.commit else "removed": f"{len(plan.remove)} files",
                 "licence": plan.licence.licence_name or plan.licence.licence, "commit": self.commit or "none",
                 **{f"note {number}": note for number, note in enumerate(plan.notes, 1)}}
        return Table.of_settings(found).html()


@dataclass(frozen=True)
class _CheckedFolder:
    card: str
    licence: Licence
    rows: int
    files: Sequence[LocalFile] = field(repr=False)


def push(root: Path, settings: PushSettings, say: Callable[[str], None] = lambda line: None) -> PushResult:
    """Publish a run, or an export of one.

    Large files are sent one after the other, then one commit makes them seen. Interrupted, the same call sends what had
    not arrived. A folder that has grown sends its new files.

    Args:
        root: The run directory, or the folder of an export.
        say: Told what is contacted and done, a line at a time.

    Raises:
        InputError: The folder is neither, its licence is not known and not stated, the run has not taken in what
            reviewers said, or token or repository is wrong.
        RunError: A file is damaged, the Hub fails for good, or somebody else pushed at the same time.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, push, run
        >>> from terrasynth.synthesis.cards.licences import Statement
        >>> from terrasynth.synthesis.hub.pushing import PushSettings
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> to = PushSettings("me/demo", stated=Statement("cc-by-nc-4.0", by="me"), dry=True, offline=True)
        >>> with TemporaryDirectory() as folder:
        ...     push(run(recipe, folder).root, to).plan.rows
        1
    """
    from huggingface_hub import constants, get_token

    check_repository(settings.repository)
    check_branch(settings.branch)
    if settings.offline and not settings.dry:
        raise InputError("--offline goes with --dry-run: a push has to contact the Hub")
    folder_at(root)
    endpoint, token = constants.ENDPOINT, None if settings.offline else get_token()
    check_endpoint(endpoint)
    if not settings.dry and token is None:
        raise InputError(f"there is no token for {endpoint}; set HF_TOKEN, or run `hf auth login`")
    hub = HubRepository(settings.repository, settings.branch, endpoint, token, say, 1 if settings.dry else TRIES)
    with reading(root) if settings.dry else locked(root), plain_http():
        folder = folder_at(root)
        ready = _prepare(folder, settings)
        if not settings.offline:
            say(f"contacting {shown(endpoint)} about the data set {settings.repository}")
        if settings.stated is not None and not settings.dry:
            settings = replace(settings, stated=replace(settings.stated, by=hub.user()))
            ready = _prepare(folder, settings, ready)
        try:
            remote = None if settings.offline else hub.look()
        except UnreachableError as error:
            if not settings.dry:
                raise
            settings = replace(settings, offline=True)
            say(f"not asked what is there: {one_line(error).partition('; ')[0]}")
        plan = _plan(folder, settings, ready, None if settings.offline else remote)
        url = f"{shown(endpoint)}/datasets/{settings.repository}"
        if settings.dry:
            return PushResult(plan, url, asked=not settings.offline)
        for note in plan.notes:
            say(f"note: {note}")
        folder.save(plan.licence, ready.card)
        if plan.remote is not None and not plan.send and not plan.remove:
            return PushResult(plan, url)
        commit = _send(hub, settings, plan, say)
        say("reading some of it back")
        patient = Patience(endpoint, f"data set {settings.repository}", say)
        compared = _compared(folder, settings.repository, commit, token, patient)
        return PushResult(plan, url, commit, compared, folder.compared)


def _prepare(folder: Folder, settings: PushSettings, checked: _CheckedFolder | None = None) -> _CheckedFolder:
    """Card, licence and files as they are to be published; nothing is written yet, and nothing is checked twice."""
    root = folder.root
    try:
        text = (root / CARD).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{str(root)!r} has no {CARD}; run or export it to its end first") from error
    rows = folder.check(text, settings.ignore_review) if checked is None else checked.rows
    licence = folder.licence(settings.stated)
    if licence.missing:
        raise InputError(
            f"the licence of {str(root)!r} has to be stated: {licence.missing}; read the terms of these sources and "
            "state what you publish under, as in --licence cc-by-nc-4.0"
        )
    text = folder.card(text, licence)
    on_the_hub = LocalFile(CARD, folder.published_card(text, settings.repository, settings.branch).encode())
    files = with_manifest([on_the_hub, *folder.files()], folder.kind, folder.identity)
    return _CheckedFolder(text, licence, rows, files)


def _plan(folder: Folder, settings: PushSettings, ready: _CheckedFolder, remote: Remote | None) -> PushPlan:
    there: Mapping[str, RemoteFile] = remote.files if remote else {}
    same = {file.path for file in ready.files if file.path in there and there[file.path].is_same(file)}
    keep = tuple(file for file in ready.files if file.path in same)
    send = tuple(file for file in ready.files if file.path not in same)
    remove: tuple[str, ...] = ()
    notes: list[str] = []
    if remote is not None:
        _check_theirs(folder, settings, remote, ready.files)
        mine = {file.path for file in ready.files}
        remove = tuple(sorted(path for path in remote.put_here if path in there and path not in mine))
        notes = [f"{path} was changed on the Hub since the last push, and is " + ("overwritten" if path in mine
                 else "left there") for path in sorted(remote.changed) if path not in same]
    said = [ready.licence.answers_for] if ready.licence.answers_for else []
    return PushPlan(send, keep, remove, ready.rows, ready.licence, remote,
                    [*notes, *said, *folder.notes(remote is None)])


def _check_theirs(folder: Folder, settings: PushSettings, remote: Remote, files: Sequence[LocalFile]) -> None:
    """Refuse to make public what was to be private, to mix two data sets, or to overwrite what others wrote."""
    name = settings.repository
    if settings.private and not remote.private:
        raise InputError(f"data set {name} exists and is public, and --private was asked for; choose another --repo, "
                         "or change its visibility on the Hub first")
    mine = {file.path for file in files}
    mixed = [path for path in remote.files if path not in remote.put_here and path not in mine
             and any(fnmatchcase(path, pattern) for pattern in folder.rows_at)]
    if mixed:
        was = "was changed there" if mixed[0] in remote.changed else "no push of this tool put there"
        raise InputError(f"data set {name} holds {mixed[0]!r}, which {was} and which would be mixed with the "
                         f"{folder.kind}'s rows; choose another --repo, or remove it on the Hub first")
    if settings.replace:
        return
    edited = [file.path for file in files if file.path in remote.changed
              and not remote.files[file.path].is_same(file)]
    if edited:
        raise InputError(f"data set {name}: {edited[0]!r} was changed on the Hub since the last push; keep a copy of "
                         f"the change, and add --replace to overwrite it with that of {str(folder.root)!r}")
    if remote.identity and (remote.kind, remote.identity) != (folder.kind, folder.identity):
        raise InputError(f"data set {name} holds the {remote.kind} {remote.identity} and {str(folder.root)!r} is the "
                         f"{folder.kind} {folder.identity}; choose another --repo, or add --replace to put this "
                         f"{folder.kind} in its place")
    theirs = [file.path for file in files if file.path in remote.files and file.path not in remote.put_here
              and not remote.files[file.path].is_same(file)]
    if theirs and remote.identity and not remote.put_here - {MANIFEST}:
        raise InputError(f"data set {name} was pushed by an earlier version, which kept no hashes to tell its files "
                         f"from those of others, as {theirs[0]!r}; look, then add --replace once to overwrite them")
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
    operations: list[CommitOperationAdd] = []
    for part in in_parts(plan.send):
        last = f" to {part[-1].path}" if len(part) > 1 else ""
        said = f"{part[0].path}{last} ({size_text(sum(file.size for file in part))})"
        say(f"{len(operations) + len(part)} of {len(plan.send)}: {said}")
        operations += hub.send(part)

    def reached(files: Mapping[str, RemoteFile]) -> bool:
        sent = all(file.path in files and files[file.path].is_same(file) for file in plan.send)
        return sent and not any(path in files for path in plan.remove)

    say("committing")
    return hub.commit(operations, plan.remove, remote.head, f"{plan.rows} rows, by terrasynth", reached)


def _compared(folder: Folder, repository: str, commit: str, token: str | None, patient: Patience) -> int:
    try:
        with insisting(patient):
            return patient(lambda: folder.read_back(repository, commit, token), may_pass)
    except (RunError, InputError):
        raise
    except Exception as error:
        raise RunError(f"{repository} was pushed as commit {commit[:8]}, but its rows could not be read back "
                       f"({type(error).__name__}: {one_line(error, 160)}); look at it on the Hub") from error


def size_text(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
