"""The recipe: everything a user decides about a data set, checked as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from terrasynth.errors import nearest
from terrasynth.prompts.checks.settings import CheckSettings
from terrasynth.prompts.layouts.palettes import Colors, check_colors
from terrasynth.prompts.settings import mistakes
from terrasynth.synthesis.core.errors import InputError, RefusedError, one_line
from terrasynth.synthesis.core.overrides import parse_override, put
from terrasynth.synthesis.core.plain_yaml import YamlError, read_yaml
from terrasynth.synthesis.core.sampling import MOST_GUIDANCE, MOST_STEPS
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.filters import FILTERS, AnyFilter, why_not

SHIPPED = Path(__file__).parent / "recipes"
# Far beyond what is useful, and near enough that nothing overflows, and no memory is asked for that no machine has.
MOST_ROWS, MOST_AT_ONCE, MOST_PIXELS, MOST_LORA_SCALE = 10**9, 4096, 16_384, 100
MOST_SECONDS = 10**6  # in milliseconds, what the system can wait for at once
MOST_CLASSES, MOST_FILTERS, MOST_OPTIONS, MOST_TEXT = 10_000, 64, 64, 4096
LARGEST_AUTO = 16  # attempts of a block, where the recipe leaves that to the run
SHOWN_MISTAKES, SHOWN_TEXT = 5, 120
Count = Annotated[int, Field(gt=0, le=MOST_ROWS)]
AtOnce = Annotated[int, Field(gt=0, le=MOST_AT_ONCE)]
Pixels = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
ImageFormat = Literal["png", "webp", "jpeg"]
Reference = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]
Option = bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | Annotated[str, Field(max_length=MOST_TEXT)]


class _Settings(BaseModel):
    # Strict: "False" is a text, not a boolean, and 2.0 is not a count.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ConditioningSettings(_Settings):
    """What a tuned model is told beside the caption; its `terrasynth.json` says how.

    Attributes:
        gsd: Ground sampling distance of the wanted images in meters a pixel; None for the one it was tuned with.
        layout: In which colors a model is shown a layout as a map: "ade20k", "six", or colors (red, green, blue) by
            class of the layout; None for what the model's files say.
    """

    gsd: float | None = Field(default=None, gt=0, le=100_000)
    layout: Colors | None = None

    @field_validator("layout")
    @classmethod
    def _known_colors(cls, layout: Colors | None) -> Colors | None:
        return None if layout is None else check_colors(layout)


class GeneratorSettings(_Settings):
    """Which model draws, and how.

    Attributes:
        model: Model reference: embedded name, folder, or Hub id with optional @revision.
        lora: Folder, or Hub id with optional @revision, of a LoRA for this model; None for none.
        lora_scale: Factor of what the LoRA adds to the weights.
        vae: Folder, part of an embedded model, or Hub id with optional @revision, of an autoencoder of the same latent
            space that decodes instead of the model's own; None for its own.
        control: Folder, or Hub id with optional @revision, of a ControlNet or a T2I-Adapter that shows the model the
            layout of each prompt; None for none.
        steps: Denoising steps; None for what the model says, else 20. A generator that draws tokens takes as many as an
            image has, whatever this says.
        guidance: Classifier-free guidance scale, >= 0; 1 and below mean no guidance. None for what the model says,
            else 3.
        scheduler: "auto" keeps the pipeline's own; otherwise the name of a diffusers scheduler class.
        height: Image height in pixels; None for the model's own.
        width: Image width in pixels; None for the model's own.
        conditioning: What a tuned model is told beside the caption.
        options: Further arguments of the pipeline's call, such as {top_k: 100} for a generator that draws tokens.
    """

    model: Reference
    lora: Reference | None = None
    lora_scale: float = Field(default=1.0, ge=-MOST_LORA_SCALE, le=MOST_LORA_SCALE)
    vae: Reference | None = None
    control: Reference | None = None
    steps: int | None = Field(default=None, gt=0, le=MOST_STEPS)
    guidance: float | None = Field(default=None, ge=0, le=MOST_GUIDANCE)
    scheduler: str = Field(default="auto", max_length=MOST_TEXT)
    height: Pixels | None = None
    width: Pixels | None = None
    conditioning: ConditioningSettings = ConditioningSettings()
    options: dict[str, Option] = Field(default_factory=dict, max_length=MOST_OPTIONS)

    @classmethod
    def of(cls, model: str, *, gsd: float | None = None, layout: Colors | None = None,
           **settings: Any) -> GeneratorSettings:  # noqa: ANN401
        """Settings of a call, checked as those of a recipe are.

        Args:
            gsd: `conditioning.gsd`.
            layout: `conditioning.layout`.
            **settings: Other settings by name; None for the default.

        Raises:
            InputError: A setting is unknown or out of range, on one line.
        """
        given = {name: value for name, value in settings.items() if value is not None or name not in cls.model_fields}
        told = {"gsd": gsd, "layout": layout}
        return Recipe.parse({"generator": {"model": model, "conditioning": told, **given}}).generator

    @model_validator(mode="after")
    def _scaled_lora(self) -> GeneratorSettings:
        if self.lora is None and self.lora_scale != 1:
            raise ValueError(f"lora_scale {self.lora_scale} has no lora to scale; give generator.lora, or leave it out")
        return self


class PromptSettings(BaseModel):
    """Which expander writes the prompts; every other key is an option of that expander, which checks it.

    Attributes:
        expander: Name of an entry point of the group "terrasynth.expanders".
        classes: "all", or the labels to make images of, in any spelling, or by a synonym.
        checks: What a prompt has to pass; None for no checks.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    expander: str = "grammar"
    classes: Literal["all"] | Annotated[list[str], Field(max_length=MOST_CLASSES)] = "all"
    checks: CheckSettings | None = None

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: Literal["all"] | list[str]) -> Literal["all"] | list[str]:
        if classes != "all" and (not classes or len(set(classes)) < len(classes)):
            raise ValueError("name at least one class, and each only once")
        return classes

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the expander."""
        return dict(self.model_extra or {})


class KeptRows(_Settings):
    """What a run has of a class and keeps.

    Attributes:
        rows: Rows of the data set.
        attempts: Attempts up to the last of them, that one included.
    """

    rows: int = Field(gt=0, le=MOST_ROWS)
    attempts: int = Field(gt=0, le=MOST_ROWS)


class TargetSettings(_Settings):
    """How much is wanted.

    Attributes:
        per_class: Accepted images per class: a number for every class, or a mapping from class to number, which then
            names all classes of the recipe (and chooses them where `prompts.classes` is "all").
        max_attempts: Attempts per class after which a class that has fewer is reported as missed.
        kept: Written by a run into its `recipe.yaml` where it was asked for less than it has: by class, what it keeps.
    """

    per_class: Count | Annotated[dict[str, Count], Field(min_length=1, max_length=MOST_CLASSES)] = 20
    max_attempts: Count = 80
    kept: dict[str, KeptRows] = Field(default_factory=dict)

    def wanted(self, label: str) -> int:
        """Accepted images of a class that are asked for; 0 for one that a mapping does not name."""
        return self.per_class.get(label, 0) if isinstance(self.per_class, dict) else self.per_class

    @property
    def most_wanted(self) -> int:
        """The largest number of `per_class`."""
        return max(self.per_class.values()) if isinstance(self.per_class, dict) else self.per_class

    @property
    def described(self) -> str:
        """`per_class` in a word or three."""
        if not isinstance(self.per_class, dict):
            return str(self.per_class)
        least = min(self.per_class.values())
        return str(least) if least == self.most_wanted else f"{least} to {self.most_wanted}"

    def most_rows(self, label: str) -> int:
        """Most rows of a class that the data set may have."""
        kept = self.kept.get(label)
        return max(self.wanted(label), kept.rows if kept else 0)


class OutputSettings(_Settings):
    """How images are stored.

    Attributes:
        image_format: "png" and "webp" are lossless here; "jpeg" is quality 95.
        rows_per_shard: Rows of one file of `data/`.
    """

    image_format: ImageFormat = "png"
    rows_per_shard: Count = 1000


class RuntimeSettings(_Settings):
    """Where and in what portions the work is done; nothing here changes an id, a prompt or a seed.

    Attributes:
        block_size: Attempts made and stored together, fixed for the life of a run. "auto" is `target.per_class`, and
            16 at most.
        micro_batch: Images drawn at once, "auto" for what suits the device.
        device: "auto", or a torch device such as "cuda:0".
        dtype: "auto" for what the device computes well: bfloat16 where it has units for it.
        exact: Draw each image in a call of its own and on one thread, so that neither `micro_batch` nor the number of
            threads moves a pixel. "auto" does so on a CPU, where images are drawn side by side instead of in a batch,
            but for a generator that draws tokens. Filters then measure on one thread, too. True also refuses to go on
            with a run on another machine.
        attention: "sdpa" is torch's own and what "auto" takes; "xformers" needs the extra `gpu` and a CUDA device.
        compile: Whether torch compiles the network, after comparing it with the uncompiled one.
        offload: "model" keeps on the GPU only the part of the pipeline that computes, where memory is short.
        executor: Where blocks are made: "local" is this process, "processes" are several on this machine, "ray" are
            actors of a Ray cluster; or the name of a plug-in.
        workers: How many of them, where the executor has any; "auto" is one a GPU, or one a core on a CPU where an
            image is drawn on one thread; on a cluster, as many as it has room for.
        address: Of a Ray cluster, `HOST:PORT`; "auto" is the one that the variable `RAY_ADDRESS` names, else one that
            is started on this machine for this run alone, as "local" always is.
        worker_cpus: CPUs that a worker takes of a Ray cluster; "auto" is one for each thread that computes an image.
        worker_gpus: GPUs that a worker takes of a Ray cluster, also less than one; "auto" is one where GPUs draw.
        block_timeout: Seconds after which a worker that makes one block is ended, and the block is made again.
    """

    block_size: Literal["auto"] | AtOnce = "auto"
    micro_batch: Literal["auto"] | AtOnce = "auto"
    device: str = Field(default="auto", max_length=32)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    exact: Literal["auto"] | bool = "auto"
    attention: Literal["auto", "sdpa", "xformers"] = "auto"
    compile: bool = False
    offload: Literal["none", "model"] = "none"
    executor: str = Field(default="local", pattern=r"^[\w.-]+$", max_length=64)
    workers: Literal["auto"] | AtOnce = "auto"
    address: str = Field(default="auto", min_length=1, max_length=256)
    worker_cpus: Literal["auto"] | Annotated[float, Field(gt=0, le=1024)] = "auto"
    worker_gpus: Literal["auto"] | Annotated[float, Field(ge=0, le=64)] = "auto"
    block_timeout: float = Field(default=3600.0, gt=0, le=MOST_SECONDS)


class Recipe(_Settings):
    """A data set to make.

    Attributes:
        name: What the data set is called.
        seed: Decides every prompt and every image.
        prompts: What it is asked to draw.
        filters: What has to be true of an image that is kept, in the order in which reasons are given.
        runtime: Where and how the work is done.
        unknown: What to do about words and classes that a model never met in training
            (`terrasynth.synthesis.execution.unread`): "warn" says so before the first image and in report and card,
            "refuse" stops before the first image.
        identity: Written by a run into its `recipe.yaml`; when given, a run whose models or prompts resolve to
            another identity is refused.

    Example:
        >>> from terrasynth import Recipe
        >>> recipe = Recipe.parse({"generator": {"model": "ldm-ucm"}, "prompts": {"classes": ["beach", "forest"]}})
        >>> recipe.class_names, recipe.target.per_class
        (['beach', 'forest'], 20)
    """

    name: str = Field(default="terrasynth", pattern=r"^[\w.-]+$", max_length=96)
    seed: int = Field(default=0, ge=0, lt=2**63)
    generator: GeneratorSettings
    prompts: PromptSettings = PromptSettings()
    filters: list[AnyFilter] = Field(default_factory=list, max_length=MOST_FILTERS)
    target: TargetSettings = TargetSettings()
    output: OutputSettings = OutputSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    unknown: Literal["warn", "refuse"] = "warn"
    identity: str | None = None

    @field_validator("filters")
    @classmethod
    def _last_where_it_belongs(cls, filters: list[AnyFilter]) -> list[AnyFilter]:
        for each in filters[:-1]:
            if each.last:
                raise ValueError(f"has another filter after {each.kind}, which judges what all others let pass; list "
                                 "it once, as the last")
        return filters

    @classmethod
    def load(cls, source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe.

        Args:
            source: A YAML file, or the name of a recipe shipped with the package.
            overrides: "a.b=value" texts, the value read as YAML; they win over the file.

        Raises:
            InputError: No such recipe, YAML that is broken or without bounds, a key that is unknown or stands twice,
                or a value out of range.
        """
        path = place(source)
        if not path.is_file() and (SHIPPED / f"{source}.yaml").is_file():
            path = SHIPPED / f"{source}.yaml"
        if not path.is_file():
            known = sorted(shipped.stem for shipped in SHIPPED.glob("*.yaml"))
            beside = [near for ending in ("*.yaml", "*.yml") for near in sorted(path.parent.glob(ending))]
            files = {near.name: str(near) for near in beside}
            meant = nearest(path.name, [*files, *known], written=files)
            raise InputError(f"recipe {str(source)!r} is no file and no shipped recipe{meant}; "
                             f"shipped: {', '.join(known)}")
        try:
            tree = read_yaml(path)
        except RefusedError as error:
            raise InputError(str(error)) from error
        except (OSError, YamlError) as error:
            raise InputError(f"recipe {str(source)!r} cannot be read: {one_line(error)}; it has to be YAML") from error
        if not isinstance(tree, dict):
            raise InputError(f"recipe {str(source)!r} holds no settings; start it with `generator: {{model: ldm-ucm}}`")
        for override in overrides:
            put(tree, *parse_override(override))
        return cls.parse(tree)

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Recipe:
        """A recipe from plain data.

        Raises:
            InputError: An unknown key (with the nearest known one) or a value out of range, on one line.
        """
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            lines = mistakes(error, cls, whole="recipe", tagged=FILTERS, own=_about_kind)
            shown, more = lines[:SHOWN_MISTAKES], len(lines) - SHOWN_MISTAKES
            raise InputError("; ".join([*shown, *([f"and {more} more mistakes"] if more > 0 else [])])) from error

    def tree(self) -> dict[str, Any]:
        """Plain data that `parse` turns into an equal recipe."""
        tree = self.model_dump(exclude_none=True)
        if not tree["target"]["kept"]:
            del tree["target"]["kept"]
        return tree

    def _repr_html_(self) -> str:
        tree = self.model_dump(exclude_none=True, exclude_unset=True)
        return f"<pre>{escape(yaml.safe_dump(tree, sort_keys=False))}</pre>"

    @property
    def class_names(self) -> list[str] | None:
        """The classes that are asked for, as they are written; None for all that the expander serves."""
        if self.prompts.classes != "all":
            return self.prompts.classes
        return list(self.target.per_class) if isinstance(self.target.per_class, dict) else None

    @property
    def filter_names(self) -> list[str]:
        """One name per filter: its kind, numbered from the second of a kind on ("alignment_2")."""
        kinds = [each.kind for each in self.filters]
        before = [kinds[:index].count(kind) for index, kind in enumerate(kinds)]
        return [f"{kind}_{seen + 1}" if seen else kind for kind, seen in zip(kinds, before, strict=True)]


def _about_kind(detail: ErrorDetails, place: str) -> str:
    """What is wrong with the kind of a filter; "" where that is not what is wrong."""
    if detail["type"] == "union_tag_not_found":
        return f"{place} names no kind; filters: {', '.join(FILTERS)}"
    if detail["type"] != "union_tag_invalid":
        return ""
    kind = str(detail["ctx"]["tag"])[:SHOWN_TEXT]
    if reason := why_not(kind):
        return f"{place}: {reason}"
    return f"{place}.kind {kind!r} is no filter{nearest(kind, FILTERS)}; filters: {', '.join(FILTERS)}"
