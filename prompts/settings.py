"""What pydantic found wrong with settings, said for whoever wrote them: one line for each mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from terrasynth.errors import nearest

SHOWN = 120  # characters of a value or a place
# What pydantic calls a member of a union that fits no value; it stands in a location, and nobody wrote it.
_MEMBERS = frozenset({
    "constrained-int", "constrained-str", "constrained-list", "constrained-float", "bool", "float", "int", "str",
})
_NO_MEMBERS: Mapping[str, type[BaseModel]] = {}


def first_mistake(error: ValidationError, model: type[BaseModel], below: str = "") -> str:
    """The first of `mistakes`."""
    return next(iter(mistakes(error, model, below)))


def mistakes(
    error: ValidationError, model: type[BaseModel], below: str = "", *, whole: str = "it",
    tagged: Mapping[str, type[BaseModel]] = _NO_MEMBERS, own: Callable[[ErrorDetails, str], str] = lambda *_: "",
) -> list[str]:
    """What is wrong, a line for each place: the dotted key, the value, what is wrong, and the nearest known key.

    Args:
        model: The settings that were to be made.
        below: The dotted key that holds them; "" where they stand alone.
        whole: What the settings are called where they are wrong as a whole and stand alone.
        tagged: Members of unions of settings, by the tag that chooses them.
        own: What the caller says of a mistake, given pydantic's account and the place; "" to leave it to this.
    """
    found: dict[str, str] = {}
    for detail in error.errors():
        place = _place(detail, below, tagged) or whole
        line = own(detail, place) or _explain(detail, place, model, tagged)
        # A value that fits no member of a union fails once per member, and is one mistake all the same.
        found[place] = f"{found[place]} or {line.split(': input should be ')[-1]}" if place in found else line
    return list(found.values())


def _place(detail: ErrorDetails, below: str, tagged: Mapping[str, type[BaseModel]]) -> str:
    *above, last = detail["loc"] or ("",)
    if detail["type"] != "extra_forbidden":  # there, the last part is what was written, whatever it is
        above, last = [*above, last], ""
    # pydantic names the members of a union inside the location: "literal['all']", "constrained-int", a tag.
    kept = (str(part) for part in above if part not in tagged and part not in _MEMBERS and "[" not in str(part))
    return ".".join(part for part in (below, *kept, str(last)) if part)[:SHOWN]


def _explain(
    detail: ErrorDetails, place: str, model: type[BaseModel], tagged: Mapping[str, type[BaseModel]]
) -> str:
    value, kind = detail["input"], detail["type"]
    if kind == "extra_forbidden":
        known = list(_holder(detail, model, tagged).model_fields)
        return f"unknown key {place!r}{nearest(place.rpartition('.')[2], known)}; known keys here: {', '.join(known)}"
    if kind == "missing":
        return f"{place} is missing; it has to be given"
    shown = repr(value) if len(repr(value)) <= SHOWN else f"{repr(value)[:SHOWN]}..."
    if kind != "value_error":
        return f"{place} {shown} is wrong: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    reason = " ".join(str(detail["ctx"]["error"]).split())
    told = isinstance(value, Mapping | BaseModel) or shown in reason
    return f"{place}: {reason}" if told else f"{place} {shown} is wrong: {reason}"


def _holder(detail: ErrorDetails, model: type[BaseModel], tagged: Mapping[str, type[BaseModel]]) -> type[BaseModel]:
    """The settings in which a key stands."""
    for part in detail["loc"][:-1]:
        if part in tagged:
            model = tagged[str(part)]
        elif isinstance(part, str) and part in model.model_fields:
            model = next(_models(model.model_fields[part].annotation), model)
    return model


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """The settings that an annotation names: itself, or within a union or a collection."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
