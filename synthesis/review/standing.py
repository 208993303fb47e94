"""What stands of a review: the last word of each reviewer on each image, without what was undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from terrasynth.synthesis.core.identity import digest
from terrasynth.synthesis.review.entries import CaptionReview, Said, Undo, Verdict
from terrasynth.synthesis.review.file import AnyEntry, ReviewFile

Rule = Literal["any", "majority", "all"]


@dataclass(frozen=True)
class Standing:
    """What stands.

    Attributes:
        verdicts: By id of the image, then by reviewer.
        captions: By id of the image: the last that anybody wrote.
    """

    verdicts: Mapping[str, Mapping[str, Verdict]]
    captions: Mapping[str, CaptionReview]

    @classmethod
    def of(cls, entries: Sequence[AnyEntry]) -> Standing:
        """What stands of all entries."""
        verdicts: dict[str, dict[str, Verdict]] = {}
        captions: dict[str, CaptionReview] = {}
        for entry in standing_entries(entries):
            row = entry.subject.row
            # Taken out first, so that the order is that of the last words.
            if isinstance(entry, Verdict):
                verdicts.setdefault(row, {}).pop(entry.reviewer, None)
                verdicts[row][entry.reviewer] = entry
            else:
                captions.pop(row, None)
                captions[row] = entry
        return cls(verdicts, captions)

    @classmethod
    def read(cls, root: Path, identity: str) -> Standing:
        """What stands of the review of a run; nothing where there is none.

        Args:
            identity: Hash of its identity.

        Raises:
            InputError: The file is the review of another run.
            RunError: It is damaged.
        """
        return cls.of(ReviewFile(root, identity).read())

    def score(self, row: str) -> float | None:
        """The share of reviewers who accept an image, 0 to 1; None where nobody looked at it."""
        found = self.verdicts.get(row)
        if not found:
            return None
        return sum(each.verdict == "accept" for each in found.values()) / len(found)

    @property
    def reviewers(self) -> list[str]:
        """Who gave the verdicts, by name."""
        return sorted({name for each in self.verdicts.values() for name in each})

    @property
    def record(self) -> dict[str, object]:
        """What results note of the verdicts: a hash of who said what of which image, and how many; no names."""
        said = sorted((row, name, one.verdict) for row, each in self.verdicts.items() for name, one in each.items())
        return {"content": digest(said), "verdicts": len(said), "images": len(self.verdicts),
                "reviewers": len(self.reviewers)}

    @property
    def captions_digest(self) -> str:
        """Hash of what the captions say; "" where there are none."""
        said = {row: [one.captions, sorted(one.present), sorted(one.absent)] for row, one in self.captions.items()}
        return digest(said) if said else ""


def standing_entries(entries: Sequence[AnyEntry]) -> list[Said]:
    """The verdicts and captions that nobody undid, in order."""
    undone = {entry.undoes for entry in entries if isinstance(entry, Undo)}
    return [entry for entry in entries if not isinstance(entry, Undo) and entry.number not in undone]


def passes(score: float | None, rule: Rule) -> bool:
    """Whether an image stays by the share of reviewers who accept it; one that nobody looked at does not.

    Args:
        score: The share, 0 to 1.
        rule: "any" asks for one who accepts it, "majority" for more than half, "all" for everyone.
    """
    if score is None:
        return False
    return score > 0 if rule == "any" else score > 0.5 if rule == "majority" else score >= 1
