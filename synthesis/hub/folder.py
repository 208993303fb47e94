"""What a push needs to know of a folder: a run and an export of one each have their own answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from terrasynth.synthesis.cards.licences import Licence, Statement
from terrasynth.synthesis.export.marker import MARKER
from terrasynth.synthesis.hub.export_folder import ExportFolder
from terrasynth.synthesis.hub.files import LocalFile
from terrasynth.synthesis.hub.run_folder import RunFolder


class Folder(Protocol):
    """A folder that can be published."""

    @property
    def root(self) -> Path:
        """Where it is."""

    @property
    def kind(self) -> str:
        """What it is: "run", "parquet export"."""

    @property
    def identity(self) -> str:
        """Hash of what it is made from: one that grows keeps it, and no other has it."""

    @property
    def rows_at(self) -> Sequence[str]:
        """Globs of the files that are read as rows, so that a file of somebody else's there would be mixed in."""

    @property
    def compared(self) -> str:
        """What `read_back` counts, in words."""

    def check(self, card: str, ignore_review: bool) -> int:
        """Check that the folder is whole, and that its card tells the truth; gives its rows.

        Args:
            ignore_review: Whether it may lack what reviewers said since it was made.

        Raises:
            InputError: It has nothing to publish, or more than the Hub takes, or lacks what reviewers said.
            RunError: It is damaged.
        """

    def licence(self, stated: Statement | None) -> Licence:
        """What it is under, by its sources and by what is stated now or was before.

        Raises:
            InputError: The statement leaves out what a source asks for.
        """

    def card(self, text: str, licence: Licence) -> str:
        """Its card with the licence, all else as it was written."""

    def published_card(self, card: str, repository: str, branch: str) -> str:
        """The card as it stands on the Hub: how to load it says its name there."""

    def files(self) -> list[LocalFile]:
        """What is published beside the card."""

    def save(self, licence: Licence, card: str) -> None:
        """Write licence and card into the folder."""

    def read_back(self, repository: str, commit: str, token: str | None) -> int:
        """Read some of it from the Hub as its users do, and compare it with the folder; gives how much.

        Raises:
            RunError: Something differs, or is not there.
        """

    def notes(self, new: bool) -> list[str]:
        """What the user should know before it is public.

        Args:
            new: Whether there is no such repository yet.
        """


def folder_at(root: Path) -> Folder:
    """The folder of a run or of an export.

    Raises:
        InputError: It is neither.
    """
    return ExportFolder(root) if (root / MARKER).is_file() else RunFolder(root)
