"""The face of TerraSynth for Python, as `synthesis/cli/` is for the command line: it stands above all four packages.

What is named here takes a run as its folder or as what `run` gave, images as `datasets` and PIL have them, and models
and formats by name; what it returns shows itself in a notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from terrasynth.eval.table import Table
from terrasynth.synthesis.cards.licences import Statement
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.events import RunResult
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.words import counted

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset, DatasetDict
    from numpy.typing import NDArray
    from PIL import Image

    from terrasynth.eval import Evaluation
    from terrasynth.synthesis.core.real_pictures import RealPictures
    from terrasynth.synthesis.export.exporting import Exported
    from terrasynth.synthesis.export.registry import Exporter
    from terrasynth.synthesis.hub.pushing import PushResult, PushSettings
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.verify.faults import Fault
    from terrasynth.training.data.pairs import Pair, PairSet
    from terrasynth.training.judges.card import TrainedJudge
    from terrasynth.training.trained import Training

    Data: TypeAlias = str | Path | Dataset | DatasetDict
    Images: TypeAlias = NDArray[np.uint8] | Iterable[Image.Image | NDArray[np.uint8]]

Run: TypeAlias = str | Path | RunResult | RunDirectory


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Attributes:
        faults: In the order in which a repair would go.
        counts: How much was looked at, by name.
        notes: What is no fault and has to be known, a sentence each, as that verdicts are not taken in yet.
    """

    root: Path
    faults: tuple[Fault, ...]
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    def __len__(self) -> int:
        return len(self.faults)

    def _repr_html_(self) -> str:
        looked = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        state = Table.of_settings({str(self.root): "whole" if self.whole else counted(len(self.faults), "fault"),
                                   "looked at": looked,
                                   **{f"note {number}": note for number, note in enumerate(self.notes, 1)}})
        faults = Table(("file", "what is wrong", "what helps"), tuple(
            (each.file, each.what, each.advice or each.remedy.value) for each in self.faults))
        return state.html() + (faults.html() if self.faults else "")


def evaluate(
    data: Run | Dataset | DatasetDict | Images, texts: Sequence[str] | None = None,
    labels: Sequence[str] | None = None, *, real: Data | None = None, split: str = "test",
    encoder: str = "clip-ucm-b", classifier: str = "scene-ucm", features: Sequence[str] = (), limit: int = 2000,
    seed: int = 0, cache: str | None = None,
) -> Evaluation:
    """Judge images with models that did not choose them, as `terrasynth eval` does.

    Args:
        data: A run; a data set of `datasets` with columns of images, captions and classes; or images of one size (PIL
            images, or `uint8` (N, H, W, 3)), with `texts` and `labels`.
        texts: A text of each image; only with images.
        labels: The class of each image, as the classifier names it; only with images. Where it does not know one,
            recognition is left out.
        real: Real image-caption data, as a place or of `datasets`; adds distances and ceilings.
        split: Split of the real data.
        encoder: Scores images against texts: embedded name, folder or Hub id.
        classifier: Names scenes, and gives the features.
        features: Further encoders of images, for further distances to real ones.
        limit: Most images of each kind.
        seed: Decides samples and intervals.
        cache: Folder that keeps features, or "none"; None for the user's cache.

    Raises:
        InputError: Data without texts or classes, or too few images.
        RunError: The run is damaged.

    Example:
        >>> from PIL import Image
        >>> from terrasynth import evaluate
        >>> images = [Image.new("RGB", (128, 128), color) for color in ("green", "gray")]
        >>> found = evaluate(images, ["a forest", "a runway"], ["forest", "runway"], cache="none")
        >>> found.n, found.frechet
        (2, None)
    """
    from terrasynth.eval.evaluation.realism import realism_figures
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.core.real_pictures import real_pictures
    from terrasynth.synthesis.studies.evaluation import Judges, judge_run, realism_of

    root = root_of(data) if isinstance(data, str | Path | RunResult | RunDirectory) else None
    if root is not None and (texts is not None or labels is not None):
        raise InputError("texts and labels go with images; a run has its own")
    pictures = _pictures(data if root is None else root, texts, labels, limit)
    judges = Judges.load(encoder, classifier, features, cache_folder(cache))
    if real is None:
        return judge_run(pictures, judges, seed).evaluation
    others: RealPictures = real_pictures(_of_split(_pairs(real), split)[:limit], pictures.size)
    realism = (realism_figures(pictures.images, others.images, None, seed) if root is None
               else realism_of(pictures, others, root, seed))
    return judge_run(pictures, judges, seed, judges.of_real(others), realism).evaluation


def export(
    run: Run, exporter: str | Exporter, folder: str | Path, *, options: Mapping[str, Any] | None = None,
    shares: Mapping[str, float] | None = None, seed: int = 0, merge: Sequence[Data] = (), ratio: float | None = None,
    licence: str | Statement | None = None, ignore_review: bool = False,
) -> Exported:
    """Write the data set of a run in a format that other tools load, alone or merged with real data.

    The same call carries on, does nothing, or takes up what the run has grown by.

    Args:
        run: A finished run.
        exporter: Name of a format, such as "webdataset"; or an exporter.
        folder: Where to; empty, or an export of the same run that was made in the same way.
        options: What the format takes, such as {"rows_per_shard": 500}; only with its name.
        shares: Share of the rows by split, such as {"train": 0.8, "validation": 0.1, "test": 0.1}; None for all in
            "train". Not together with `merge`.
        seed: Decides which rows are in which split.
        merge: Real image-caption data that comes first, as a place or of `datasets`.
        ratio: Synthetic rows for each real training row of a class; None for all.
        licence: What it is under, where its sources do not say, or stricter.
        ignore_review: Export although reviewers said what the run has not taken in.

    Raises:
        InputError: The run is none or has not taken in what reviewers said, the folder holds something else, or data
            and options do not go together.
        RunError: The disk is full, or the run is damaged or went on meanwhile.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, export, run
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     made = run(recipe, Path(folder, "run"))
        ...     export(made, "imagefolder", Path(folder, "images")).rows
        {'train': 1}
    """
    from terrasynth.synthesis.export.exporting import export as export_run
    from terrasynth.synthesis.export.real import RealSet
    from terrasynth.synthesis.export.registry import load_exporter

    if not isinstance(exporter, str) and options:
        raise InputError("options go with the name of a format; an exporter has its own")
    found = load_exporter(exporter, options) if isinstance(exporter, str) else exporter
    sets = []
    for source in merge:
        pairs = _pairs(source)
        named = place(source if isinstance(source, str | Path) else pairs.sources[0])
        sets.append(RealSet.of(named, pairs.pairs))
    return export_run(root_of(run), found, place(folder), shares=shares, seed=seed, merge=sets, ratio=ratio,
                      stated=_statement(licence), ignore_review=ignore_review)


def push(
    run: Run, to: str | PushSettings, say: Callable[[str], None] = lambda line: None, *,
    licence: str | Statement | None = None, private: bool = False, branch: str = "main", replace: bool = False,
    dry: bool = False, offline: bool = False, ignore_review: bool = False,
) -> PushResult:
    """Publish a run, or an export of one, on the Hugging Face Hub; only what changed is sent.

    Args:
        run: A run, or the folder of an export.
        to: "user/name"; or settings that say the rest as well.
        say: Told what is contacted and done, a line at a time.
        licence: What it is published under, where its sources do not say, or stricter.
        private: Make a new data set private.
        branch: The branch to push to.
        replace: Overwrite what others, or another run or export, put there.
        dry: Only look and say.
        offline: With `dry`, do not even look.
        ignore_review: Publish although reviewers said what the run has not taken in.

    Raises:
        InputError: The folder is neither, its licence is not known and not stated, the run has not taken in what
            reviewers said, or token or repository is wrong.
        RunError: A file is damaged, the Hub fails for good, or somebody else pushed at the same time.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, push, run
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     push(run(recipe, folder), "me/demo", licence="cc-by-nc-4.0", dry=True, offline=True).plan.rows
        1
    """
    from terrasynth.synthesis.hub.pushing import PushSettings
    from terrasynth.synthesis.hub.pushing import push as push_folder

    if isinstance(to, str):
        to = PushSettings(to, private, branch, _statement(licence), replace, dry, offline, ignore_review)
    elif licence is not None or private or branch != "main" or replace or dry or offline or ignore_review:
        raise InputError("the settings say all of that themselves; give either them, or a name and options")
    return push_folder(root_of(run), to, say)


def train(
    preset: str, data: Data | Sequence[Data], out: str | Path, minutes: float | None = None, *, resume: bool = True,
    overrides: Mapping[str, Any] | None = None, base: str | None = None, teacher: str | None = None,
    encoder: str | None = None, masks: str | Path | None = None,
) -> Training | TrainedJudge:
    """Train what a preset names and write it to a folder; the same call resumes.

    Args:
        preset: Name of a preset, or path of a YAML file.
        data: Image-caption data, one set or several, each a place (folder, file, Hub id, data YAML) or of `datasets`.
        out: Folder of the result.
        minutes: Time budget.
        resume: False starts anew.
        overrides: Dotted key -> value, such as {"loop.max_steps": 100}.
        base: What the presets `lora`, `full`, `distil` and `control` start from.
        teacher: What the preset `autoencoder-distil` learns from.
        encoder: The network whose features the preset `judge` reads; None for the best of our own.
        masks: What lies where in the images that the preset `control` learns from: a folder of PNG masks.

    Returns:
        Where the models are, how good they are, and what to do with them.

    Raises:
        InputError: The preset, the data or a setting is wrong.

    Example:
        >>> from terrasynth import train
        >>> train("no-such-preset", "data", "out")
        Traceback (most recent call last):
        ...
        terrasynth.training.errors.InputError: preset 'no-such-preset' does not exist; there are: ...
    """
    from terrasynth.training import run_preset

    return run_preset(preset, data, Path(out), minutes, resume, overrides, base, teacher, encoder, masks)


def verify(run: Run, fast: bool = False) -> Verified:
    """Look for everything that can be wrong with a run, or with an export of one.

    Args:
        run: A run, or the folder of an export.
        fast: Leave out what costs most: decoding images, and comparing rows and bytes with what they should be.

    Raises:
        InputError: No run there, or a process is at work on it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, run, verify
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     made = run(recipe, folder)
        ...     verify(made).whole
        ...     (made.root / "data" / "train-00000.parquet").unlink()
        ...     [fault.file for fault in verify(made)]
        True
        ['data/train-00000.parquet']
    """
    from terrasynth.synthesis.verify.verifying import Verification
    from terrasynth.synthesis.verify.verifying import verify as verify_run

    root, looked = root_of(run), Verification()
    return Verified(root, tuple(verify_run(root, fast, looked)), looked.counts, tuple(looked.notes))


def root_of(run: Run) -> Path:
    """The folder of a run, however it is given."""
    return place(run) if isinstance(run, str | Path) else run.root


def _statement(licence: str | Statement | None) -> Statement | None:
    return Statement(licence.lower(), by="you") if isinstance(licence, str) else licence


def _pairs(source: Data) -> PairSet:
    """Real data, read; what was left out is said on standard error."""
    from terrasynth.training.data import read_pairs, report_skipped

    found = read_pairs(source)
    report_skipped(found)
    return found


def _of_split(found: PairSet, split: str) -> Sequence[Pair]:
    pairs = found.pairs if split == "all" else found.split(split)
    if not pairs:
        raise InputError(f"the real data has no pairs in split {split!r}; it has {len(found.pairs)} in all")
    return pairs


def _pictures(
    data: Path | Dataset | DatasetDict | Images, texts: Sequence[str] | None, labels: Sequence[str] | None, limit: int
) -> RunPictures:
    """The images that are judged, with their texts and classes."""
    from terrasynth.eval.images import as_images
    from terrasynth.synthesis.core.real_pictures import opened, real_pictures
    from terrasynth.synthesis.ledger.pictures import RunPictures

    if isinstance(data, Path):
        return RunPictures.read(data, limit)
    if hasattr(data, "column_names"):  # of `datasets`
        if texts is not None or labels is not None:
            raise InputError("texts and labels go with images; a data set has its own columns")
        pairs = _pairs(data).pairs[:limit]
        found = real_pictures(pairs, opened(pairs[0]).size)
        images, texts, labels = found.images, found.texts, found.labels
        if labels is None:
            raise InputError("rows of the data set name no class; add a column label to each")
    else:
        try:
            images = as_images(data)[:limit]
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error
        if texts is None or labels is None:
            lacks = "texts" if texts is None else "labels"
            raise InputError(f"{counted(len(images), 'image')} without {lacks}; give one of each")
        texts, labels = texts[:limit], labels[:limit]
    return RunPictures(images, (), tuple(texts), tuple(labels), (), ())
