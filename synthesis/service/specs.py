"""What a job is to do, as a client writes it: one model for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from terrasynth.prompts.settings import mistakes
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.sampling import MOST_GUIDANCE, MOST_STEPS
from terrasynth.synthesis.recipe import MOST_CLASSES, MOST_LORA_SCALE, MOST_OPTIONS, MOST_TEXT, Option, Pixels
from terrasynth.words import counted

NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9_. -]*[A-Za-z0-9_.-])?$"
"""One part of a path, hidden nowhere and no option of any command; blanks only within."""

EXPORTS = "exports"  # the folder of exports, beside the data sets
MOST_DRAWN, MOST_PROMPTS, MOST_IMAGES, LARGEST_SEED = 16, 1000, 100_000, 2**63
Name = Annotated[str, Field(pattern=NAME, max_length=96)]
Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]
Seed = Annotated[int, Field(ge=0, lt=LARGEST_SEED)]
Options = Annotated[dict[Annotated[str, Field(max_length=96)], Option], Field(max_length=MOST_OPTIONS)]


def _own_name(name: str) -> str:
    if name == EXPORTS:
        raise ValueError(f"{EXPORTS!r} is the folder of exports; call the data set otherwise")
    return name


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _OfDataSet(_Spec):
    data_set: Name

    _own = field_validator("data_set")(_own_name)


class StatedLicence(_Spec):
    """A licence that is stated, as the options of `terrasynth export` state it.

    Attributes:
        id: Name of the licence on the Hub.
        name: With "other": what it is called.
        link: With "other": where its text is.
        reason: Why it may be looser than those of the sources.
    """

    id: Text
    name: str = Field(default="", max_length=MOST_TEXT)
    link: str = Field(default="", max_length=MOST_TEXT)
    reason: str = Field(default="", max_length=MOST_TEXT)


class RunSpec(_OfDataSet):
    """Make a data set, or go on with it: `terrasynth run`.

    Attributes:
        data_set: Name of the run directory.
        recipe: What to make; None to go on with the recipe of the directory. A larger target grows the data set.
        shrink: Give up rows beyond a smaller target.
    """

    kind: Literal["run"]
    recipe: dict[str, Any] | None = None
    shrink: bool = False


class EvaluateSpec(_OfDataSet):
    """Judge a data set: `terrasynth eval RUN`.

    Attributes:
        data_set: Name of the run directory.
        real: Real image-caption data to compare with; None for none.
        split: Split of the real data.
        encoder: Scores images against texts.
        classifier: Names scenes.
        features: Further encoders, for further distances to real images.
        reference: Statistics of real images, by name; None for none.
        limit: Most images of each kind.
        seed: Decides samples and intervals.
    """

    kind: Literal["evaluate"]
    real: Text | None = None
    split: Text = "test"
    encoder: Text = "clip-ucm-b"
    classifier: Text = "scene-ucm"
    features: list[Text] = Field(default_factory=list, max_length=8)
    reference: Text | None = None
    limit: int = Field(default=2000, ge=1, le=MOST_IMAGES)
    seed: Seed = 0


class ExportSpec(_OfDataSet):
    """Write a data set in another format: `terrasynth export`.

    Attributes:
        data_set: Name of the run directory.
        format: Name of an exporter.
        out: Name of the export.
        splits: Share of the rows by split; None for all in "train".
        seed: Decides which rows are in which split.
        options: Settings of the format.
        licence: What is stated; None for what follows from the parts.
        ignore_review: Export although reviewers said what the run has not taken in.
    """

    kind: Literal["export"]
    format: Text
    out: Name
    splits: dict[Annotated[str, Field(max_length=96)], float] | None = Field(default=None, max_length=16)
    seed: Seed = 0
    options: Options = Field(default_factory=dict)
    licence: StatedLicence | None = None
    ignore_review: bool = False


class PushSpec(_OfDataSet):
    """Publish a data set, or an export of it, on the Hub: `terrasynth push`.

    Attributes:
        data_set: Name of the run directory.
        export: Name of the export that is pushed instead of the run; None for the run.
        repo: "user/name".
        dry_run: Only say what would be sent.
        offline: With `dry_run`: do not even ask what is there.
        private: Make a new repository private.
        revision: The branch.
        replace: Overwrite what others put there.
        licence: What is stated; None for what is inherited.
        ignore_review: Publish although reviewers said what the run has not taken in.
    """

    kind: Literal["push"]
    export: Name | None = None
    repo: Text
    dry_run: bool = True
    offline: bool = False
    private: bool = True
    revision: Text = "main"
    replace: bool = False
    licence: StatedLicence | None = None
    ignore_review: bool = False

    @model_validator(mode="after")
    def _looks_somewhere(self) -> PushSpec:
        if self.offline and not self.dry_run:
            raise ValueError("offline goes with dry_run: nothing can be sent without asking; set dry_run to true")
        return self


class PlanSpec(_Spec):
    """Say what a recipe would make and cost: `terrasynth plan`.

    Attributes:
        recipe: What would be made.
        data_set: Name of the run directory that would go on; None for a new one.
    """

    kind: Literal["plan"]
    recipe: dict[str, Any]
    data_set: Name | None = None


class DrawSpec(_Spec):
    """Draw a few images: `terrasynth generate`.

    Attributes:
        model: Model reference.
        prompts: What is drawn, an image each.
        seeds: One for each prompt.
        labels: Scene class of each prompt, for a model tuned with classes; empty for none.
        steps: Denoising steps; None for the model's own.
        guidance: Guidance scale; None for the model's own.
        lora: LoRA for the model; None for none.
        lora_scale: Factor of what the LoRA adds.
        gsd: Metres a pixel, for a model tuned with them.
        width: Width in pixels; None for the model's own.
        height: Height in pixels; None for the model's own.
        options: Further arguments of the pipeline's call.
    """

    kind: Literal["draw"]
    model: Text = "ldm-ucm"
    prompts: list[Text] = Field(min_length=1, max_length=MOST_DRAWN)
    seeds: list[Seed] = Field(min_length=1, max_length=MOST_DRAWN)
    labels: list[Annotated[str, Field(max_length=MOST_TEXT)]] = Field(default_factory=list, max_length=MOST_DRAWN)
    steps: int | None = Field(default=None, gt=0, le=MOST_STEPS)
    guidance: float | None = Field(default=None, ge=0, le=MOST_GUIDANCE)
    lora: Text | None = None
    lora_scale: float = Field(default=1.0, ge=-MOST_LORA_SCALE, le=MOST_LORA_SCALE)
    gsd: float | None = Field(default=None, gt=0, le=100_000)
    width: Pixels | None = None
    height: Pixels | None = None
    options: Options = Field(default_factory=dict)

    @model_validator(mode="after")
    def _paired(self) -> DrawSpec:
        for name, values in (("seeds", self.seeds), ("labels", self.labels)):
            if values and len(values) != len(self.prompts):
                raise ValueError(f"{counted(len(values), name.removesuffix('s'))} for "
                                 f"{counted(len(self.prompts), 'prompt')}; give one for each")
        return self


class Expansion(_Spec):
    """Which prompts are wanted.

    Attributes:
        expander: Name of an expander.
        classes: Labels, in any spelling; empty for all.
        count: Prompts in all; classes take turns.
        seed: As in a recipe.
        start: First attempt of each class.
        options: Options of the expander.
    """

    expander: Text = "grammar"
    classes: list[Text] = Field(default_factory=list, max_length=MOST_CLASSES)
    count: int = Field(default=8, ge=1, le=MOST_PROMPTS)
    seed: Seed = 0
    start: int = Field(default=0, ge=0, le=10**9)
    options: dict[str, Any] = Field(default_factory=dict, max_length=MOST_OPTIONS)


class ExpandSpec(Expansion):
    """Write prompts: `terrasynth expand`."""

    kind: Literal["expand"]


class NearestSpec(_OfDataSet):
    """Find the real image that an image of a data set is most like, such as one that its generator was trained on.

    Attributes:
        data_set: Name of the run directory.
        label: Class of the image.
        k: Its place in the class, from 0.
        real: Real image-caption data.
        split: Split of the real data.
    """

    kind: Literal["nearest"]
    label: Text
    k: int = Field(ge=0, le=10**9)
    real: Text
    split: Text = "train"


JobSpec = Annotated[
    RunSpec | EvaluateSpec | ExportSpec | PushSpec | PlanSpec | DrawSpec | ExpandSpec | NearestSpec,
    Field(discriminator="kind")
]
SPECS: Mapping[str, type[BaseModel]] = {
    "run": RunSpec, "evaluate": EvaluateSpec, "export": ExportSpec, "push": PushSpec, "plan": PlanSpec,
    "draw": DrawSpec, "expand": ExpandSpec, "nearest": NearestSpec,
}
LONG, SHORT = ("run", "evaluate", "export", "push"), ("plan", "draw", "expand", "nearest")
_ANY: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


def parse_spec(tree: Mapping[str, Any]) -> JobSpec:
    """A spec from plain data.

    Raises:
        InputError: The kind is unknown, a key is unknown or a value out of range, on one line.

    Example:
        >>> from terrasynth.synthesis.service.specs import parse_spec
        >>> parse_spec({"kind": "export", "data_set": "coast", "format": "coco", "out": "coast-coco"}).format
        'coco'
    """
    try:
        return _ANY.validate_python(dict(tree))
    except ValidationError as error:
        kind = tree.get("kind")
        if not isinstance(kind, str) or kind not in SPECS:
            raise InputError(f"kind {kind!r} of a job is unknown; known: {', '.join(SPECS)}") from error
        lines = mistakes(error, SPECS[kind], whole="job", tagged=SPECS)
        raise InputError("; ".join(lines[:5])) from error
