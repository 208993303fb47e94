"""What a data set inherits from the licences of what made it.

A licence is known by the restrictions it puts on what is derived: none (permissive), attribution, share-alike,
non-commercial, no-derivatives, conditions of its own. They form a lattice by inclusion: a result carries the union of
the restrictions of its sources. Share-alike means the very same licence, so two such sources of different licences have
no result. A licence that is not known here may ask for anything. In both cases the user has to state one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from terrasynth.errors import nearest
from terrasynth.prompts.addresses import shown
from terrasynth.synthesis.core.errors import InputError

ATTRIBUTION, SHARE_ALIKE = "attribution", "share-alike"
NON_COMMERCIAL, NO_DERIVATIVES = "non-commercial", "no-derivatives"
Restrictions = frozenset[str]
_CC_PARTS = {"by": ATTRIBUTION, "sa": SHARE_ALIKE, "nc": NON_COMMERCIAL, "nd": NO_DERIVATIVES}
# Identifiers of the Hub: https://huggingface.co/docs/hub/repositories-licenses
_PERMISSIVE = (
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "isc", "zlib", "unlicense",
    "wtfpl", "cc0-1.0", "pddl", "bsl-1.0", "postgresql", "ncsa", "ecl-2.0", "cdla-permissive-1.0",
    "cdla-permissive-2.0",
)
_ATTRIBUTION = ("afl-3.0", "artistic-2.0", "etalab-2.0", "ms-pl", "odc-by")
_SHARE_ALIKE = (
    "gpl", "gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "mpl-2.0", "epl-1.0",
    "epl-2.0", "eupl-1.1", "eupl-1.2", "osl-3.0", "odbl", "cdla-sharing-1.0", "gfdl",
)
_CONDITIONS = (
    "openrail", "openrail++", "creativeml-openrail-m", "bigscience-openrail-m", "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "gemma",
    "grok2-community",
)
_CREATIVE_COMMONS = (
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
)
KNOWN: dict[str, Restrictions] = {
    **{name: frozenset() for name in _PERMISSIVE},
    **{name: frozenset({ATTRIBUTION}) for name in _ATTRIBUTION},
    **{name: frozenset({ATTRIBUTION, SHARE_ALIKE}) for name in _SHARE_ALIKE},
    **{name: frozenset({ATTRIBUTION, f"the conditions of {name}"}) for name in _CONDITIONS},
    **{name: frozenset(_CC_PARTS[part] for part in name.split("-")[1:-1]) for name in _CREATIVE_COMMONS},
}
# The Hub has these, too; what they ask of a data set is for the user to say.
UNSORTED = (
    "cc", "c-uda", "h-research", "intel-research", "lppl-1.3c", "apple-ascl", "apple-amlr", "openmdw-1.0", "ofl-1.1",
    "deepfloyd-if-license", "fair-noncommercial-research-license",
)
OTHER, UNSTATED = "other", "not-stated-yet"
_NAME = re.compile(r"[a-z0-9][a-z0-9.+_-]*")
_FOR_RESEARCH = re.compile(r"research|academic|non-?commercial|(?:^|[-_.])nc(?:[-_.]|$)")
LONGEST_REASON = 500
PROMPTS = "prompts"
TERMS = {"research-captions": "LICENSE-weights.md of TerraSynth"}
"""Where the terms of licences can be read that are of no list, by their names: that of the embedded weights."""


@dataclass(frozen=True)
class Source:
    """Something that a data set was made with.

    Attributes:
        role: "generator", "LoRA", "autoencoder", "prompts"; of an export "run", "real data".
        name: What rows or recipe call it.
        licence: Its identifier on the Hub; "" where nothing says one.
        licence_name: Its name, where the identifier is "other".
        licence_link: Where it can be read, or "".
        found: Where this was read: "its card", "this package", "nothing says".
        identity: Hash that says which run or data this is; "" where the name does.
    """

    role: str
    name: str
    licence: str = ""
    licence_name: str = ""
    licence_link: str = ""
    found: str = "nothing says"
    identity: str = ""

    @property
    def restrictions(self) -> Restrictions | None:
        """What it asks of what is derived from it; None where that is not known."""
        return KNOWN.get(self.licence)

    @property
    def described(self) -> str:
        """The licence in words."""
        if not self.licence:
            return "not stated"
        return f"{self.licence} ({self.licence_name})" if self.licence_name else self.licence

    @property
    def told(self) -> str:
        """The licence in words, with where its terms can be read as far as that is known."""
        where = self.licence_link or TERMS.get(self.licence_name, "")
        return f"{self.described}, whose terms are in {where}" if where else self.described


@dataclass(frozen=True)
class Statement:
    """A licence that a user states for a data set.

    Attributes:
        licence: Identifier on the Hub, or "other".
        licence_name: Needed with "other", as the Hub wants it.
        licence_link: Needed with "other": an address, or the name of a file in the repository.
        by: Who stated it.
        reason: Why it may be looser than what the sources ask for; "" where it is not meant to be.
    """

    licence: str
    licence_name: str = ""
    licence_link: str = ""
    by: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        """Check it against the rules of the Hub.

        Raises:
            InputError: An unknown identifier, or "other" without name and link, or these with another identifier.
        """
        named = bool(self.licence_name), bool(self.licence_link)
        known = [*KNOWN, *UNSORTED, OTHER]
        if self.licence not in known:
            raise InputError(f"licence {self.licence!r} is unknown{nearest(self.licence, known)}; give an "
                             "identifier of https://huggingface.co/docs/hub/repositories-licenses, or `other` with "
                             "--licence-name and --licence-link")
        if self.licence == OTHER and not all(named):
            raise InputError("licence 'other' needs a name and a link to its text; add --licence-name and "
                             "--licence-link")
        if self.licence != OTHER and any(named):
            raise InputError(f"licence {self.licence!r} has a name and a text of its own; leave --licence-name and "
                             "--licence-link out, or state `other`")
        if self.licence == OTHER and not _NAME.fullmatch(self.licence_name):
            raise InputError(f"licence name {self.licence_name!r} is no identifier; use small letters, digits, '-' "
                             "and '.', such as 'research-only'")
        if self.licence_link != shown(self.licence_link):
            raise InputError(f"licence link {self.licence_link} holds credentials or a key, and the card publishes it; "
                             "give an address without")
        if len(self.reason) > LONGEST_REASON or not self.reason.isprintable():
            raise InputError(f"the reason for a looser licence has {len(self.reason)} signs; give one line of at most "
                             f"{LONGEST_REASON}")


@dataclass(frozen=True)
class Licence:
    """What a data set may be published under.

    Attributes:
        licence: Identifier; "other" while it is unknown.
        licence_name: Its name, where the identifier is "other".
        licence_link: Where it can be read, or "".
        stated_by: Who stated it; "" where it is inherited.
        reason: Why it was stated though it is looser than what the sources ask for; "" where it is not.
        missing: Why there is none yet; "" where there is one.
    """

    sources: tuple[Source, ...]
    licence: str
    licence_name: str = ""
    licence_link: str = ""
    stated_by: str = ""
    missing: str = ""
    reason: str = ""

    @property
    def answers_for(self) -> str:
        """What whoever stated it answers for, since no card does, on one line; "" where every source says a licence."""
        silent = ", ".join(f"{each.role} {each.name!r}" for each in self.sources if not each.licence)
        if not self.stated_by or not silent:
            return ""
        own = "; what you wrote yourself needs no answer" if any(
            each.role == PROMPTS and not each.licence for each in self.sources) else ""
        return (f"nothing says under which licence these are: {silent}; whoever stated {self.licence!r} answers for "
                f"their terms{own}")

    def header(self) -> dict[str, str]:
        """Its keys of a card's YAML header; the Hub takes name and link with "other" alone."""
        found = {"license": self.licence}
        if self.licence == OTHER:
            found |= {"license_name": self.licence_name}
            found |= {"license_link": self.licence_link} if self.licence_link else {}
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dump`."""
        return asdict(self)


def inherit(sources: Sequence[Source], stated: Statement | None = None) -> Licence:
    """The licence of a data set: as strict as each of its sources, or what its user states.

    Args:
        sources: What it was made with, at least one.
        stated: What the user states; may be stricter than the sources, and says what those without a licence do not.
            What is looser than a source, or may be, needs a reason.

    Raises:
        InputError: The statement leaves out what a source asks for, or may ask for, and gives no reason.
    """
    needed = _union(sources)
    if stated is not None:
        looser = _looser(stated, sources, needed)
        if looser and not stated.reason:
            raise InputError(f"{looser}, or give --licence-reason TEXT if you may license it so: it is recorded and "
                             "published with the licence")
        return Licence(tuple(sources), stated.licence, stated.licence_name, stated.licence_link, stated.by,
                       reason=stated.reason if looser else "")
    unknown = [each for each in sources if each.restrictions is None]
    if unknown:
        listed = "; ".join(f"{each.role} {each.name!r}: {each.told}" for each in unknown)
        return Licence(tuple(sources), OTHER, UNSTATED, missing=f"what it asks is not known ({listed})")
    chosen = _narrowest(sources, needed)
    if chosen is None:
        asked = ", ".join(dict.fromkeys(each.licence for each in sources if each.restrictions))
        missing = f"no one licence carries what these ask for together: {asked}"
        return Licence(tuple(sources), OTHER, UNSTATED, missing=missing)
    return Licence(tuple(sources), chosen)


def _union(sources: Sequence[Source]) -> Restrictions:
    return frozenset().union(*(each.restrictions or frozenset() for each in sources))


def _narrowest(sources: Sequence[Source], needed: Restrictions) -> str | None:
    """A source's own licence if it carries everything, else the Creative Commons licence that says just this."""
    if SHARE_ALIKE in needed:
        alike = {each.licence for each in sources if SHARE_ALIKE in (each.restrictions or ())}
        only = alike.pop()
        return only if not alike and KNOWN[only] == needed else None
    for source in sources:
        if source.restrictions == needed:
            return source.licence
    return next((name for name in _CREATIVE_COMMONS if name.endswith("-4.0") and KNOWN[name] == needed), None)


def _looser(stated: Statement, sources: Sequence[Source], needed: Restrictions) -> str:
    """How a statement falls short of a source, or may; nothing where it does not."""
    if stated.licence not in KNOWN:
        return ""  # what its text says is the user's to answer for
    given = KNOWN[stated.licence]
    left_out = needed - given
    if left_out:
        first = next(each for each in sources if each.restrictions and each.restrictions & left_out)
        fitting = inherit([each for each in sources if each.restrictions is not None])
        advice = f"state {fitting.licence}" if not fitting.missing else "state `other` with a text that does"
        return (f"licence {stated.licence!r} leaves out {', '.join(sorted(left_out))}, which {first.role} "
                f"{first.name!r} asks for ({first.told}); {advice} or a stricter one")
    for each in sources:
        if not each.licence or each.restrictions is not None or each.licence == stated.licence:
            continue
        # Nobody here knows the licence; its name may say that it is for research, and then no less will do.
        if _FOR_RESEARCH.search(f"{each.licence} {each.licence_name}".lower()) and NON_COMMERCIAL in given:
            continue
        return (f"licence {stated.licence!r} may be looser than that of {each.role} {each.name!r} ({each.told}); "
                "state `other` with a text that keeps to it")
    return ""
