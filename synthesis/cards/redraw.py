"""What draws one image of a run again: a command, or Python where the command has no option for what a recipe says."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from terrasynth.prompts.addresses import shown

if TYPE_CHECKING:
    from terrasynth.eval.pages.run_images import Redraw
    from terrasynth.synthesis.recipe import Recipe


def redraw_of(recipe: Recipe, parts: Mapping[str, Any], anywhere: bool = False) -> Redraw:
    """What the images of a run have in common.

    Args:
        parts: What its identity was made of.
        anywhere: Whether it is read on other machines: folders of this one are then named by their last part, which a
            note says.
    """
    from terrasynth.eval.pages.run_images import Redraw

    settings, runtime = recipe.generator, recipe.runtime
    generator = parts["generator"] if isinstance(parts["generator"], Mapping) else {}
    local: list[str] = []

    def place(reference: str | None) -> str | None:
        if reference is None or not anywhere:
            return reference
        name, colon, path = reference.rpartition(":")  # as of a plug-in
        if not _of_this_machine(path):
            return shown(reference)
        local.append(PurePath(path).name)
        return f"{name}{colon}{local[-1]}"

    model = place(settings.model)
    given = {"lora": place(settings.lora), "lora_scale": settings.lora_scale if settings.lora else None,
             "vae": place(settings.vae), "control": place(settings.control), "gsd": settings.conditioning.gsd,
             "steps": generator.get("steps"), "guidance": generator.get("guidance")}
    given = {key: value for key, value in given.items() if value is not None}
    further = {"scheduler": settings.scheduler, "height": settings.height, "width": settings.width,
               "options": dict(settings.options) or None, "dtype": runtime.dtype, "device": runtime.device,
               "exact": runtime.exact, "layout": settings.conditioning.layout}
    further = {key: value for key, value in further.items() if value not in (None, "auto")}
    note = f"Of the machine that drew it: {' and '.join(local)}; give your own place of it." if local else ""
    if "layout" in generator:
        note = " ".join(filter(None, (note, "It is shown the layout of the row, which the column `layout` has.")))
        if isinstance(prompts := parts.get("prompts"), Mapping) and prompts.get("pairs"):
            note += " The image after takes its seed, the text `text_after`, and the layout that `edit` makes of it."
    if further.keys() - {"options"}:
        named = "".join(f", {key}={value!r}" for key, value in (given | further).items())
        return Redraw(f"load_generator({model!r}{named})", True, note)
    options = [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
    options += [f"--option={key}={json.dumps(value)}" for key, value in settings.options.items()]
    return Redraw(shlex.join(["terrasynth", "generate", f"--model={model}", *options, "--out=again"]), note=note)


def _of_this_machine(path: str) -> bool:
    return PurePath(path).is_absolute() or path.startswith(("~", ".."))
