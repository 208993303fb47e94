"""The report of a finished run in one file, which can be sent: its images are in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from terrasynth.synthesis.cards.redraw import redraw_of
from terrasynth.synthesis.cards.run_images import embedded
from terrasynth.synthesis.cards.run_report import next_steps, thresholds_of
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.records import RecordError, read_record, run_error
from terrasynth.synthesis.ledger.decisions import Decision
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.judged_rows import JudgedRows

AGAIN = "running its recipe again writes it anew"


@dataclass(frozen=True)
class RecordedClass:
    """What `decisions.parquet` says of the attempts of one class.

    Attributes:
        decisions: In order of k.
        block_size: Attempts of a block.
    """

    label: str
    decisions: Sequence[Decision]
    block_size: int

    @property
    def blocks(self) -> int:
        """Blocks of the class."""
        return len(self.decisions) // self.block_size

    def block(self, index: int) -> list[Decision]:
        """The decisions on the attempts of a block, in order of k."""
        return list(self.decisions[index * self.block_size : (index + 1) * self.block_size])


def one_file_report(root: Path, most: int) -> tuple[str, int, int]:
    """The report of a run as one HTML file.

    Args:
        most: Images at the most; of each class the same number, where it has as many.

    Returns:
        The page, the number of images in it, and that of images of the run which are not.

    Raises:
        InputError: It is no run, or its run has not ended.
        RunError: A file of it is damaged.
    """
    from terrasynth.eval.pages.run_report import RunReport, page_of

    run = RunDirectory.open(root)
    try:
        report = RunReport.from_json(read_record(root / layout.REPORT))
    except FileNotFoundError as error:
        raise InputError(f"{str(root)!r} has no {layout.REPORT}; run its recipe first") from error
    except RecordError as error:
        raise run_error(root / layout.REPORT, error, AGAIN) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{root / layout.REPORT} holds no figures of a run ({error!r:.80}); {AGAIN}") from error
    images = embedded(run.blocks, recorded(root, run.frozen.block_size), run.recipe.filter_names,
                      thresholds_of(report), redraw_of(run.recipe, run.parts, anywhere=True), most)
    page = page_of(replace(report, steps=next_steps(run.recipe)), images)
    return page.html(), 0 if images is None else images.total, 0 if images is None else images.left_out


def recorded(root: Path, block_size: int) -> list[RecordedClass]:
    """The classes of a run, in its order, as its decisions were written.

    Raises:
        InputError: It has decided on nothing yet.
        RunError: The file is damaged.
    """
    rows = JudgedRows.read(root)
    found: dict[str, list[Decision]] = {}
    for place, (label, k, reason) in enumerate(zip(rows.labels, rows.ks, rows.reasons, strict=True)):
        scores: dict[str, Any] = {name: None if values[place] != values[place] else float(values[place])
                                  for name, values in rows.scores.items()}
        found.setdefault(label, []).append(Decision(k, reason is None, reason, scores))
    return [RecordedClass(label, decisions, block_size) for label, decisions in found.items()]
