"""What a judge was made from: one that is there stays, is said to be finished, or is refused where another is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.eval.evaluation.judge_figures import load_judge_figures
from terrasynth.eval.models.dual_encoders import CALIBRATION_FILE
from terrasynth.eval.models.references import FIGURES_FILE, JUDGE_FILE, SCENE_CALIBRATION_FILE, content_hash
from terrasynth.hashing import text_hash
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.training.errors import InputError
from terrasynth.training.judges.card import TrainedJudge
from terrasynth.training.judges.reading import Described
from terrasynth.training.presets import WORK
from terrasynth.training.running.same_training import changes, data_digest

if TYPE_CHECKING:
    from terrasynth.eval import PictureEncoder
    from terrasynth.training.data.pictures import PictureSet

RECORD = "judge-made-from.json"
MADE, NAMES, DONE = "made from", "names", "done"
FINISHED = "this judge is finished, and nothing is left to do; --restart makes it anew"
WHOLE = (JUDGE_FILE, CALIBRATION_FILE, SCENE_CALIBRATION_FILE, FIGURES_FILE, "README.md")


@dataclass(frozen=True)
class MadeFrom:
    """What decides a judge.

    Attributes:
        settings: As plain data; images and networks by their hashes.
        names: What people call those that are hashes, by key.
    """

    settings: Mapping[str, Any]
    names: Mapping[str, str]

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Mapping[str, PictureEncoder], train: PictureSet,
           held_out: PictureSet, sources: Sequence[str]) -> MadeFrom:
        """What a judge is about to be made from.

        Args:
            settings: Those of its preset.
            networks: By reference, those that are chosen from.
            sources: What the data sets are called.
        """
        identities = {name: network.identity() for name, network in networks.items()}
        made = {**settings, "data": data_digest({"train": train, "val": held_out}),
                "encoder": text_hash(json.dumps(identities, sort_keys=True, default=str))}
        return cls(made, {"data": f"{', '.join(sources)} ({len(train)} images to fit to, {len(held_out)} held out)",
                          "encoder": ("the best of " if len(networks) > 1 else "") + " and ".join(networks)})

    def note_begun(self, out: Path) -> None:
        """Note what is being made, before anything of it is there."""
        self._write(out, None)

    def note_done(self, judge: TrainedJudge) -> None:
        """Note that all of it is there."""
        self._write(judge.out, {"content": content_hash(judge.out), "network": judge.network, "train": judge.train,
                                "described": asdict(judge.described)})

    def _write(self, out: Path, done: Mapping[str, Any] | None) -> None:
        (out / WORK).mkdir(parents=True, exist_ok=True)
        write_record(out / WORK / RECORD, {MADE: dict(self.settings), NAMES: dict(self.names), DONE: done}, indent=1)


def made_before(out: Path, asked: MadeFrom, data: tuple[str, ...]) -> TrainedJudge | None:
    """The judge that is there, if it is the one that is asked for; None where none is, or none that is whole.

    Args:
        data: The data as they were given.

    Raises:
        InputError: Another judge is there, one that does not say what it was made from, or one that was changed.
    """
    path = out / WORK / RECORD
    if not path.is_file():
        if (out / JUDGE_FILE).is_file():
            raise InputError(f"{out} holds a judge that does not say what it was made from, as those of earlier "
                             "versions; use --restart to replace it, or another --out")
        return None
    try:
        record = read_record(path)
        before, called, done = dict(record[MADE]), dict(record[NAMES]), record[DONE]
        described = Described(**done["described"]) if done else None
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be believed ({error}); use --restart to make the judge anew") from error
    if described is None:
        return None  # cut off, or failed: the next one takes its place
    now = dict(asked.settings)
    if before.get("load_size") != now["load_size"]:  # of which the hash of the pixels speaks, too
        before["data"] = now["data"]
    if found := changes(before, now, called, asked.names):
        raise InputError(f"{out} holds another judge: {found}; use --restart to replace it, or another --out")
    figures = load_judge_figures(out)
    if figures is None or not all((out / name).is_file() for name in WHOLE):
        return None
    if content_hash(out) != done["content"]:
        raise InputError(f"the judge in {out} is not what was written; use --restart to make it anew")
    return TrainedJudge(out, str(done["network"]), data, int(done["train"]), described, figures, None)
