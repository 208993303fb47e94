"""The model card of a tuned pipeline: what it started from, what it saw, what it reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from terrasynth.synthesis.cards.licence_sources import hub_card, licence_fields
from terrasynth.synthesis.core.embedded import WEIGHTS

if TYPE_CHECKING:
    from terrasynth.training.tuning.families.base import Base

LOADS_WITH_DIFFUSERS = "pytorch_lora_weights.safetensors"

TEXT = """
# {name}

{what} of `{base}` (revision `{revision}`){student}, trained with TerraSynth.

| | |
|---|---|
| data | {data}: {train} train and {val} val images; only `train` was trained on, `val` chose the step |{described}
| size | {size} x {size} px |
| trained | {parameters:,} parameters, {minutes} minutes |
| steps | {best_step} of {batch} images a process, learning rate {rate:g}{beyond} |
| seed | {seed} |
| hardware | {hardware} |
| text | `{template}`{gsd} |

## Use

{use}

## Figures

On `val`, averaged weights, {validation_steps} steps, guidance {guidance:g}, seeds 0 to {last_seed}; {network}.

{figures}

{note}

## Settings

```yaml
{settings}```
"""

CONTROLLED = """

The network in `control` was shown the mask of each image as a map in the colors `{palette}`, as its `terrasynth.json`
says:

```bash
terrasynth generate "TEXT" --model {model}{lora} --control "THIS FOLDER/control" --layout LAYOUT.json --out images
```

In plain diffusers:

```python
from diffusers import {kind}, {pipeline}
{embedded}
control = {kind}.from_pretrained("THIS FOLDER/control")
pipeline = {pipeline}.from_pretrained({base}, {argument}=control)
{load}pipeline(prompt, image=map)
```"""

OURS = """```bash
terrasynth generate "TEXT" --model {name} --lora "THIS FOLDER" --out images
```

In plain diffusers:

"""

DIFFUSERS_LORA = """```python
from diffusers import DiffusionPipeline
{embedded}
pipeline = DiffusionPipeline.from_pretrained({base})
pipeline.load_lora_weights("THIS FOLDER")
```"""

PEFT_LORA = """diffusers has no `load_lora_weights` for this pipeline; `peft` loads it:

```python
import peft
from diffusers import DiffusionPipeline
{embedded}
pipeline = DiffusionPipeline.from_pretrained({base})
pipeline.transformer = peft.PeftModel.from_pretrained(pipeline.transformer, "THIS FOLDER")
```"""

FULL = """```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("THIS FOLDER")
```"""

FEW_STEPS = """

It was distilled to draw in {steps} steps{phases}; {guidance}:

```python
{scheduler}pipeline(prompt, num_inference_steps={steps}, guidance_scale={scale:g})
```"""

CHOSEN_BY = {"clip_score": "agreement with the captions", "loss": "loss"}
ROWS = {"clip_score": "agreement with the caption (mean cosine)", "accuracy": "scene accuracy", "loss": "loss"}


def write_card(folder: Path, base: Base, record: Mapping[str, Any]) -> None:
    """Write `README.md`.

    Args:
        folder: Of the result; the weights lie there.
        base: What the training started from; what its card says of its licence is repeated.
        record: The content of `training.json`.
    """
    model, loop = record["preset"]["model"], record["preset"]["loop"]
    lora = model["method"] == "lora"
    by_diffusers = (folder / LOADS_WITH_DIFFUSERS).is_file()
    conditioning, validation = model["conditioning"], model["validation"]
    gsd = conditioning.get("gsd")
    header = {
        **base_licence(base), **({"base_model": base.name} if base.on_hub else {}),
        "library_name": "diffusers" if by_diffusers or not lora else "peft", "pipeline_tag": "text-to-image",
        "tags": ["remote-sensing", "terrasynth", *(["lora"] * lora), *([model["kind"]] if "kind" in model else [])],
    }
    text = TEXT.format(
        name=folder.name, what=_what(model), base=base.name,
        student=", distilled to few steps" if "phases" in model else "",
        described=_described(record) + _masked(model),
        revision=base.revision, train=record["pictures"]["train"], val=record["pictures"]["val"], size=record["size"],
        parameters=record["trained_parameters"], minutes=record["minutes"], beyond=_beyond(record),
        data=", ".join(f"`{name}`" for name in record["data"]),
        batch=loop["batch_size"] * loop["accumulate"], rate=loop["learning_rate"], best_step=record["best_step"],
        seed=loop["seed"], hardware=record["hardware"],
        template=conditioning["template"], gsd="" if gsd is None else f", gsd {gsd:g} m",
        use=_usage(base, model, by_diffusers),
        validation_steps=validation["steps"], guidance=validation["guidance"],
        last_seed=int(record["val"].get("n", 1)) - 1, network=_networks(validation), figures="\n".join(_table(record)),
        note=_note(base), settings=yaml.safe_dump({"model": model, "loop": loop}, sort_keys=False),
    )
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n{text}", encoding="utf-8")


def base_licence(base: Base) -> dict[str, Any]:
    """The licence fields of the base's own card; none where it has no card or says nothing."""
    card = base.folder / "README.md"
    if not card.is_file() and base.on_hub:
        card = hub_card(f"{base.name}@{base.revision}") or card
    return licence_fields(card)


def _what(model: Mapping[str, Any]) -> str:
    """What was trained, in words."""
    trained = {"lora": "LoRA", "full": "All weights of the denoising network"}.get(model["method"])
    control = {"controlnet": "ControlNet", "t2i-adapter": "T2I-Adapter"}.get(model.get("kind", ""))
    return " and ".join(part for part in (control, trained) if part is not None)


def _usage(base: Base, model: Mapping[str, Any], by_diffusers: bool) -> str:
    """How to draw with it."""
    if "kind" in model:
        return _controlled(base, model).strip()
    return (_use(base, by_diffusers) if model["method"] == "lora" else FULL) + _few_steps(model)


def _controlled(base: Base, model: Mapping[str, Any]) -> str:
    """How to draw with a ControlNet or a T2I-Adapter."""
    from terrasynth.synthesis.generators.control import PIPELINES
    from terrasynth.training.tuning.control import KINDS

    kind, full, lora = KINDS[model["kind"]], model["method"] == "full", model["method"] == "lora"
    index = json.loads((base.folder / "model_index.json").read_text(encoding="utf-8"))
    pipeline, argument = PIPELINES[index["_class_name"], kind]
    embedded = base.folder.parent == WEIGHTS and not full
    ours = "THIS FOLDER" if full else base.name if base.on_hub or embedded else f"FOLDER OF {base.name}"
    palette = model["palette"]
    return CONTROLLED.format(
        palette=palette if isinstance(palette, str) else json.dumps(palette), kind=kind, pipeline=pipeline,
        argument=argument, model=f'"{ours}"' if " " in ours else ours, lora=' --lora "THIS FOLDER"' * lora,
        base=f'WEIGHTS / "{base.name}"' if embedded else f'"{ours}"',
        embedded="from terrasynth.synthesis.core.embedded import WEIGHTS\n" * embedded,
        load='pipeline.load_lora_weights("THIS FOLDER")\n' * lora)


def _masked(model: Mapping[str, Any]) -> str:
    """A row of the table where images were seen beside their masks."""
    if "masks" not in model:
        return ""
    return f"\n| layouts | masks of the images in `{model['masks']}`; {model['layout_dropout']:.0%} were left black |"


def _use(base: Base, by_diffusers: bool) -> str:
    """How to draw with a LoRA: diffusers knows a base of the Hub by its id, an embedded or local one by its folder."""
    embedded = base.folder.parent == WEIGHTS
    place = f'"{base.name}"' if base.on_hub else f'WEIGHTS / "{base.name}"' if embedded else f'"FOLDER OF {base.name}"'
    code = (DIFFUSERS_LORA if by_diffusers else PEFT_LORA).format(
        base=place, embedded="from terrasynth.synthesis.core.embedded import WEIGHTS\n" if embedded else "")
    name = base.name if base.on_hub or embedded else f'"FOLDER OF {base.name}"'
    return OURS.format(name=name) + code


def _beyond(record: Mapping[str, Any]) -> str:
    """What the kept step is among all that were trained."""
    by = CHOSEN_BY[record["preset"]["model"]["validation"]["choose"]]
    if record["best_step"] == record["steps"]:
        return f"; the last of them is the best by {by}"
    return f"; the best by {by} of {record['steps']} that were trained, whose later weights are not these"


def _described(record: Mapping[str, Any]) -> str:
    """A row of the table where images have no captions of their own."""
    if not (bare := record.get("undescribed")):
        return ""
    of = f"{bare} of {sum(record['pictures'].values())} images have none"
    return f"\n| captions | {of}: their texts say what their class is and can show, not what they show |"


def _few_steps(model: Mapping[str, Any]) -> str:
    """How to call a student of `terrasynth.training.tuning.distil`; nothing for another model."""
    if "phases" not in model:
        return ""
    told, phases = model["guidance_range"], model["phases"]
    kind = "LCMScheduler" if phases == 1 else "DDIMScheduler"
    beside = f'pipeline.scheduler = {kind}.from_pretrained("THIS FOLDER", subfolder="scheduler")\n'
    return FEW_STEPS.format(
        steps=model["validation"]["steps"], phases=f", one for each of its {phases} phases" * (phases > 1),
        scheduler=beside if model["method"] == "lora" else "",
        scale=model["validation"]["guidance"] if told else 1,
        guidance=f"it takes guidance scales from {told[0]:g} to {told[1]:g}, at no cost" if told else
                 f"a guidance scale of {model['guidance']:g} is in its weights, so it draws without guidance",
    )


def _note(base: Base) -> str:
    licence = base_licence(base)
    if not licence:
        return "The base's card names no licence; ask its authors before you publish these weights."
    return "The licence of the base, which its card names, goes for what was made of it; the data has terms of its own."


def _networks(validation: Mapping[str, Any]) -> str:
    asked = {"agreement by": validation["encoder"], "scenes by": validation["classifier"]}
    named = [f"{what} `{name}`" for what, name in asked.items() if name is not None]
    return ", ".join(named) or "no network was asked"


def _table(record: Mapping[str, Any]) -> list[str]:
    lines = ["| | before | after | real images | other captions, after | n |", "|---|---|---|---|---|---|"]
    for key, name in ROWS.items():
        if key not in record["val"]:
            continue
        null = record["val"].get("clip_null") if key == "clip_score" else None
        cells = [record["before"].get(key), record["val"][key], record["real"].get(key), null]
        shown = ["" if value is None else f"{value:.3f}" for value in cells]
        n = record["val"]["loss_n" if key == "loss" else "n"]
        lines.append(f"| {name} | " + " | ".join(shown) + f" | {n:.0f} |")
    return lines
