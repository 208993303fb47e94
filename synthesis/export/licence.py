"""The licence of an export: what its parts, the run and the real data merged with it, allow together.

A part is copied, not learnt from. So what is of one licence alone stays under it, also where nobody knows what it asks;
parts of several licences are joined by the rules of `terrasynth.synthesis.cards.licences`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from terrasynth.hub_ids import is_hub_id
from terrasynth.synthesis.cards.licence_sources import FILE, load_licence, read_card
from terrasynth.synthesis.cards.licences import UNSTATED, Licence, Source, Statement, inherit
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.identity import digest
from terrasynth.synthesis.export.real import RealRows, RealSet
from terrasynth.synthesis.export.rows import RunRows

HEADING = "\n## Licence\n"
RUN, REAL = "run", "real data"


def licence_of(folder: Path, rows: RunRows, real: RealRows | None, stated: Statement | None) -> Licence:
    """The licence of an export: by its parts, and by what is stated now or was stated for the folder before.

    Args:
        real: What is merged with it; None for nothing.
        stated: What the user states now; None for nothing new.

    Raises:
        InputError: The statement leaves out what a part asks for.
        RunError: The `licence.json` of the folder or of the run cannot be read.
    """
    parts = (_run(rows), *(_real(one) for one in (real.sets if real else ())))
    return load_licence(folder, parts, combined) if stated is None else combined(parts, stated)


def combined(parts: Sequence[Source], stated: Statement | None = None) -> Licence:
    """The licence of copies that lie together.

    Args:
        parts: What is copied, at least one.
        stated: What the user states; None for nothing.

    Raises:
        InputError: The statement leaves out what a part asks for.
    """
    found = {(part.licence, part.licence_name, part.licence_link) for part in parts}
    if stated is None and len(found) == 1:
        with suppress(InputError):  # none at all, or none that the Hub knows
            only = Statement(*found.pop())
            return Licence(tuple(parts), only.licence, only.licence_name, only.licence_link)
    return inherit(parts, stated)


def licence_text(licence: Licence) -> str:
    """The end of an export's README, from its heading on."""
    from terrasynth.eval.markdown import markdown_environment

    merged = any(part.role == REAL for part in licence.sources)
    template = markdown_environment("terrasynth.synthesis.export").get_template("export_licence.md.j2")
    return HEADING + "\n" + template.render(licence=licence, merged=merged)


def licence_digest(licence: Licence) -> str:
    """Hash of all that is known of a licence."""
    return digest(licence.to_json())


def _run(rows: RunRows) -> Source:
    if not (rows.root / FILE).is_file():
        return _of_card(read_card(rows.root, RUN, rows.name), rows.identity)
    licence = load_licence(rows.root)
    if licence.missing:
        return Source(RUN, rows.name, found=f"its {FILE}: {licence.missing}", identity=rows.identity)
    found = f"stated by {licence.stated_by}" if licence.stated_by else f"its {FILE}"
    return Source(RUN, rows.name, licence.licence, licence.licence_name, licence.licence_link, found, rows.identity)


def _real(one: RealSet) -> Source:
    """By its card: `README.md` in its folder, or beside its file, or on the Hub."""
    folder = one.place.parent if one.place.is_file() else one.place
    place = one.place.as_posix()  # it was read a moment ago: what is not here was on the Hub
    on_hub = "" if one.place.exists() or not is_hub_id(place.partition("@")[0]) else place
    return _of_card(read_card(folder, REAL, one.name, on_hub, "dataset"), one.identity)


def _of_card(found: Source, identity: str) -> Source:
    known: Mapping[str, Any] = {} if found.licence_name == UNSTATED else {
        "licence": found.licence, "licence_name": found.licence_name, "licence_link": found.licence_link,
    }
    return Source(found.role, found.name, **known, found=found.found, identity=identity)
