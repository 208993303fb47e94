"""What a training ended with: where the model is, how good it is on `val`, and what to do with it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from terrasynth.eval.table import Table
from terrasynth.synthesis.core.overrides import override_of
from terrasynth.synthesis.core.progress import duration
from terrasynth.training.presets import WORK
from terrasynth.training.running.figures import compared_in_words, figures_in_words

CAPTION, MOST_CAPTION = "a scene from above", 120
_PLAIN = re.compile(r"[\w/.][\w/.@-]*")
KINDS: Mapping[str, str] = {
    "scene": "scene classifier", "clip": "dual encoder", "autoencoder": "autoencoder", "decoder": "decoder",
    "vq": "tokenizer of images", "latent-vq": "tokenizer of latents", "diffusion": "generator",
    "segmenter": "segmenter", "captioner": "captioner", "hopfield": "generator", "ablations": "figures of ablations",
    "finetune": "tuned generator", "distil": "generator of few steps", "control": "network for layouts",
    "autoencoder-distil": "autoencoder",
}


@dataclass(frozen=True)
class TrainedModel:
    """One model that was trained.

    Attributes:
        preset: The preset that made it.
        family: Kind of model, as its preset says.
        folder: Where it is.
        steps: Steps of its training.
        minutes: How long that took.
        best_step: The step whose weights were kept.
        figures: What it reached on `val`.
        base: What it was tuned from; "" where it is complete in itself.
        masks: Folder of the masks that it learned from; "" where it learned from none.
        begun_at: Steps that were there already when this call went on; 0 for a training from its beginning.
        before: The figures before the first step; empty where they were not measured.
        real: The figures of the real images of `val`; empty where they were not measured.
        budget: `--minutes` that ended it before its last step, and that last step; None where nothing did.
    """

    preset: str
    family: str
    folder: Path
    steps: int
    minutes: float
    best_step: int
    figures: Mapping[str, float]
    base: str = ""
    masks: str = ""
    begun_at: int = 0
    before: Mapping[str, float] = field(default_factory=dict)
    real: Mapping[str, float] = field(default_factory=dict)
    budget: tuple[float, int] | None = None

    @property
    def on_val(self) -> list[str]:
        """What it reached on `val`, in words: beside what was there before and what real images have, if measured."""
        if self.before:
            return compared_in_words(self.figures, self.before, self.real)
        return ["; ".join(figures_in_words(self.figures))] if self.figures else []

    @property
    def cut(self) -> str:
        """What is to be said of a training that its time budget ended, on one line; "" of another."""
        if self.budget is None:
            return ""
        minutes, steps = self.budget
        draws = self.is_lora or KINDS[self.family] in ("generator", "tuned generator")
        grown = ", and a run that was drawn with it cannot be grown afterwards (train into another --out to keep it)"
        return (f"by --minutes {minutes:g} at step {self.steps} of {steps}; the same command with more minutes goes on"
                f"{grown if draws else ''}")

    @property
    def no_gain(self) -> str:
        """What is to be said of a training that went on and got no better, on one line; "" of another."""
        if not 0 < self.best_step <= self.begun_at < self.steps:
            return ""
        return (f"steps {self.begun_at + 1} to {self.steps}, which this call went on with, were no better on val: the "
                f"weights of step {self.best_step} are kept")

    @property
    def no_better(self) -> str:
        """What is to be said of a tuned model that is no better than its base, on one line; "" of another."""
        if not {"score"} <= self.before.keys() & self.figures.keys() or self.figures["score"] > self.before["score"]:
            return ""
        return (f"by what chooses its checkpoint it is no better on val than {self.base}; train longer, or with a "
                "lower loop.learning_rate")

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return "LoRA" if self.is_lora and self.family != "control" else KINDS[self.family]

    @property
    def is_lora(self) -> bool:
        """Whether it draws only together with its base."""
        return bool(self.base) and not (self.folder / "model_index.json").is_file()


@dataclass(frozen=True)
class Training:
    """What a preset made: one model, or several of a chain.

    Attributes:
        out: The folder that was asked for.
        models: In the order in which they were trained.
        data: The data that they learned from, as it was given.
        caption: One of its captions.
        size: Side in pixels of what a judge sees; None where the preset does not say.

    Example:
        >>> from pathlib import Path
        >>> from terrasynth.training.trained import TrainedModel, Training
        >>> model = TrainedModel("scene-ucm", "scene", Path("runs/scene"), 200, 3.0, 150, {"accuracy": 0.7})
        >>> for line in Training(Path("runs/scene"), (model,), ("my-data",), size=128).lines():
        ...     print(line)
        model      runs/scene   (scene classifier; 200 steps, 3 min; that of step 150 is kept)
        on val     scene accuracy 0.7
        next       terrasynth eval calibrate my-data --size 128 --classifier runs/scene --out runs/scene
        recipe     filters: [{kind: scene, classifier: runs/scene, pass_real: 0.95}]
    """

    out: Path
    models: tuple[TrainedModel, ...]
    data: tuple[str, ...]
    caption: str = CAPTION
    size: int | None = None

    def lines(self) -> list[str]:
        """Where the result is and what to do with it; a line each."""
        lines = []
        for model in self.models:
            kept = "" if model.best_step == model.steps else f"; that of step {model.best_step} is kept"
            how = f"{model.steps} steps, {duration(60 * model.minutes)}{kept}"
            lines.append(f"model      {model.folder}   ({model.kind}; {how})")
            if model.cut:
                lines.append(f"stopped    {model.cut}")
            lines += [f"on val     {line}" for line in model.on_val]
            if model.no_better:
                lines.append(f"no gain    {model.no_better}")
            if model.no_gain:
                lines.append(f"no gain    {model.no_gain}")
        lines += [f"disk       {line}" for line in self._disk()]
        if (card := self.out / "README.md").is_file():
            lines.append(f"card       {card}")
        if len(self.models) > 1 and (figures := self.out / "figures.json").is_file():
            lines.append(f"figures    {figures}")
        return lines + [f"{word:<11}{text}" for word, text in self.next_steps()]

    def _disk(self) -> Iterator[str]:
        """How large the result is, and what of it is only there to train on."""
        for model in self.models:
            work = model.folder / WORK
            if work.is_dir():
                kept, more = _megabytes(model.folder), _megabytes(work)
                yield (f"{kept - more:.1f} MiB in {model.folder}, and {more:.1f} MiB in {work}, which is needed to "
                       "train on and may be deleted")

    def next_steps(self) -> list[tuple[str, str]]:
        """What uses the result: commands under "next", and what a recipe says under "recipe"."""
        if len(self.models) == 1:
            return list(self._uses(self.models[0]))
        embedded = self.out / "embedded"  # what a chain finishes: models without checkpoints, calibrated
        return [step for model in self.models if model.family in ("diffusion", "hopfield")
                for step in self._draw(embedded / model.preset)]

    def _uses(self, model: TrainedModel) -> Iterator[tuple[str, str]]:
        folder = str(model.folder)
        data = [part for each in self.data for part in ("--data", each)]
        if model.family in ("scene", "clip"):
            role, filtering = ("classifier", "scene") if model.family == "scene" else ("encoder", "alignment")
            side = [] if self.size is None else ["--size", str(self.size)]
            yield _next("eval", "calibrate", self.data[0], *side, f"--{role}", folder, "--out", folder)
            yield "recipe", f"filters: [{{kind: {filtering}, {role}: {_yaml(folder)}, pass_real: 0.95}}]"
        elif model.family in ("diffusion", "hopfield", "finetune", "distil"):
            yield from self._draw(model.folder, model.base if model.is_lora else "")
        elif model.family == "segmenter":
            yield "recipe", f"filters: [{{kind: layout, segmenter: {_yaml(folder)}, pass_real: 0.95}}]"
        elif model.family == "captioner":
            yield _next("eval", "captions", self.data[0], "--captioner", folder)
            yield _next("recaption", "DIR", "--captioner", folder, "--out", str(_beside(model.folder, "captions")))
        elif model.family == "control":
            yield from _with_control(model)
        elif model.family in ("autoencoder", "vq", "latent-vq"):
            preset, role = {"autoencoder": ("ldm-ucm", "autoencoder"), "vq": ("mhn-ucm", "tokenizer"),
                            "latent-vq": ("mhn-rs", "tokenizer")}[model.family]
            yield _next("train", preset, *data, "--set", override_of(f"needs.{role}", folder), "--out",
                        str(_beside(model.folder, preset)))
        elif model.family == "decoder" and _codes_tokens(model.folder):
            yield _next("train", "mhn-ucm", *data, "--set", override_of("needs.tokenizer", folder), "--out",
                        str(_beside(model.folder, "mhn-ucm")))
        elif model.family in ("autoencoder-distil", "decoder"):
            yield "recipe", f"generator: {{model: A-PIPELINE-OF-THE-SAME-LATENTS, vae: {_yaml(folder)}}}"

    def _draw(self, folder: Path, base: str = "") -> Iterator[tuple[str, str]]:
        """Draw one image, and a data set; `folder` is a LoRA where there is a base."""
        model, lora = (base, str(folder)) if base else (str(folder), "")
        more = ["--lora", lora] if lora else []
        yield _next("generate", self.caption, "--model", model, *more, "--out", str(_beside(folder, "images")))
        yield "recipe", f"generator: {{model: {_yaml(model)}{f', lora: {_yaml(lora)}' if lora else ''}}}"

    def _repr_html_(self) -> str:
        rows = tuple((model.preset, model.kind, str(model.folder), str(model.steps), f"{model.minutes:.1f}",
                      "; ".join(model.on_val))
                     for model in self.models)
        steps = Table((), tuple(self.next_steps()))
        return Table(("preset", "kind", "folder", "steps", "minutes", "on val"), rows).html() + steps.html()


def _with_control(model: TrainedModel) -> Iterator[tuple[str, str]]:
    """Draw layouts like those of its masks: beside the base, its LoRA, or the pipeline in the same folder."""
    folder = str(model.folder)
    parts = {"model": model.base}
    if (model.folder / "model_index.json").is_file():
        parts = {"model": folder}
    elif (model.folder / "terrasynth.json").is_file():  # what a tuned pipeline or a LoRA has beside it
        parts["lora"] = folder
    parts["control"] = str(model.folder / "control")
    yield "recipe", f"generator: {{{', '.join(f'{name}: {_yaml(value)}' for name, value in parts.items())}}}"
    yield "recipe", f"prompts: {{expander: layout, masks: {_yaml(model.masks)}}}"


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def caption_of(captions: Iterable[str]) -> str:
    """The first caption that fits on a command line."""
    return next((text for text in captions if len(text) <= MOST_CAPTION), CAPTION)


def _beside(folder: Path, name: str) -> Path:
    """A folder beside another one, with its name and a further word."""
    return folder.with_name(f"{folder.name}-{name}")


def _codes_tokens(folder: Path) -> bool:
    """Whether a folder of diffusers holds a tokenizer of images rather than a continuous autoencoder."""
    return bool(json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"] == "VQModel")


def _next(*arguments: str) -> tuple[str, str]:
    return "next", shlex.join(["terrasynth", *arguments])


def _yaml(text: str) -> str:
    """A text as it stands inside braces of YAML."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
