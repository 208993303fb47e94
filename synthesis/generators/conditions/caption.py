"""What a tuned model wants to be told beside the caption: one template renders it, in training and in sampling.

A model that was tuned with a template carries it in `terrasynth.json` beside its weights:
`{"template": "{caption} gsd {gsd} m, {label}", "gsd": 0.3, "base": "owner/model"}`. A part in square brackets is left
out where its field is not known, as in `{caption}[ ; {label}][ ; {gsd} m]`: such a model was trained with and without.
The same file says which weights it was tuned from, and at which size.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from terrasynth.prompts.layouts.palettes import Colors, check_colors
from terrasynth.prompts.settings import first_mistake
from terrasynth.synthesis.core.errors import InputError, one_line

FILE = "terrasynth.json"
FIELDS = ("caption", "label", "gsd")
OPTIONAL = re.compile(r"\[([^\[\]{}]*\{[^\[\]]*)\]")  # brackets around no field are plain text
CAPTION_ALONE = "{caption}"


class Conditioning(BaseModel):
    """How a caption becomes the text that a model reads.

    Attributes:
        template: Text with the fields {caption}, {label} and {gsd}; {caption} is needed. What stands in square
            brackets is left out where a field in it is not known.
        gsd: Ground sampling distance in meters a pixel of the images that the model draws, where nothing else is
            asked for.
        base: The model that the weights beside it belong to; "" where they need none.
        layout: In which colors it was shown layouts: a palette's name, or colors by class; None where nothing says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str = CAPTION_ALONE
    gsd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    base: str = ""
    layout: Colors | None = None

    @field_validator("layout")
    @classmethod
    def _known_colors(cls, layout: Colors | None) -> Colors | None:
        return None if layout is None else check_colors(layout)

    @field_validator("template")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"{one_line(error)}; write a brace of the text itself twice") from None
        found = [name for _, name, _, _ in parts if name is not None]
        unknown = [name for name in found if name not in FIELDS]
        if unknown:
            raise ValueError(f"the field {{{unknown[0]}}} is unknown; there are {{{'}, {'.join(FIELDS)}}}")
        if not _has(_without_optional(template), "caption"):
            raise ValueError("the field {caption} is missing, so every image would have the same text")
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise ValueError("fields take no format; write {gsd} and the number comes with two digits")
        return template

    def asks(self, field: str) -> bool:
        """Whether the template has a field."""
        return _has(self.template, field)

    def identity(self) -> dict[str, object]:
        """What decides the texts that a model reads, JSON-able."""
        read = {"optional_parts": 1} if _optional(self.template) else {}  # which an earlier version took as they stand
        return {"template": self.template, "gsd": self.gsd, **read}

    def needs(self, field: str) -> bool:
        """Whether the template has a field outside of square brackets."""
        return _has(_without_optional(self.template), field)

    def render(self, caption: str, label: str = "", gsd: float | None = None) -> str:
        """The text for one image.

        Args:
            label: Its scene class; an underscore reads as a space.
            gsd: Meters a pixel, where it differs from `self.gsd`; rendered with two significant digits.

        Raises:
            InputError: The template asks for a class or a distance that is not given.
        """
        distance = self.gsd if gsd is None else gsd
        if self.needs("gsd") and distance is None:
            raise InputError(f"conditioning.gsd is not set, and the template {self.template!r} asks for it; give the "
                             "metres a pixel, for instance 0.3")
        if self.needs("label") and not label:
            raise InputError(f"the caption {caption[:60]!r} has no class, and the template {self.template!r} asks for "
                             "one; leave {label} out of it")
        shown = "" if distance is None else f"{float(f'{distance:.2g}'):.6g}"
        values = {"caption": caption, "label": label.replace("_", " "), "gsd": shown}
        return _rendered(self.template, values)

    def save(self, folder: Path) -> None:
        """Write it beside a model's weights."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(self.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")


class Tuned(Conditioning):
    """All that `terrasynth.json` says: how captions are written, and of what a model was tuned, at which size.

    Attributes:
        base_revision: Commit on the Hub, or content hash, of the base; "" where nothing says.
        base_network: Content hash of the base's denoising network, by which it is known under any name; "" where
            nothing says.
        size: Side in pixels of the images that it was tuned on; None where nothing says.
    """

    base_revision: str = ""
    base_network: str = ""
    size: int | None = Field(default=None, gt=0)


def _fields(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def _optional(template: str) -> bool:
    return any(_fields(part) for part in OPTIONAL.findall(template))


def _rendered(template: str, values: Mapping[str, str]) -> str:
    def chosen(part: re.Match[str]) -> str:
        fields = _fields(part[1])
        if not fields:
            return part[0]
        return part[1] if all(values[name] for name in fields) else ""

    return OPTIONAL.sub(chosen, template).format(**values)


def _without_optional(template: str) -> str:
    return OPTIONAL.sub(lambda part: "" if _fields(part[1]) else part[0], template)


def _has(template: str, field: str) -> bool:
    return field in _fields(template)


def read_conditioning(folder: Path) -> Conditioning:
    """What the weights in `folder` want to be told: their `terrasynth.json`, or the caption alone.

    Raises:
        InputError: The file is there and wrong.
    """
    return Conditioning(**read_tuned(folder).model_dump(include=set(Conditioning.model_fields)))


def read_tuned(folder: Path) -> Tuned:
    """All that the `terrasynth.json` of a folder says; nothing but the caption alone where there is none.

    Raises:
        InputError: The file is there and wrong.
    """
    path = folder / FILE
    if not path.is_file():
        return Tuned()
    try:
        return Tuned.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InputError(f"{path}: {first_mistake(error, Tuned)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {one_line(error, 120)}") from error
