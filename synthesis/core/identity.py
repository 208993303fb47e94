"""What makes an attempt the same attempt: the identity of a run, and the id and seed of attempt k of a class.

`identity` hashes what decides an image (seed, generator with its weights and settings, prompts) and nothing else, so
that counts, filters, devices and micro-batches can change without touching a single id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from terrasynth.errors import ELLIPSIS, shortened

ID_LENGTH = 16
OTHER_CONTENT = ", whose content is another now"
"""How a difference ends that is none of the settings: a file or a model of the same name has another content."""


@dataclass(frozen=True)
class Identity:
    """The parts that decide a run's images, and their hash.

    Attributes:
        parts: JSON-able tree: `seed`, `generator`, `prompts`.
        hash: 16 hexadecimal digits of the SHA-256 of the canonical JSON of `parts`.
    """

    parts: Mapping[str, object]
    hash: str

    @classmethod
    def of(cls, seed: int, generator: Mapping[str, object], prompts: Mapping[str, object]) -> Identity:
        """The identity of a run.

        Args:
            generator: `Generator.identity()`: revision or content hash, steps, guidance, scheduler, size.
            prompts: `Expander.identity()`.
        """
        parts = json.loads(canonical({"seed": seed, "generator": generator, "prompts": prompts}))
        return cls(parts, digest(parts))

    @property
    def has_layouts(self) -> bool:
        """Whether the images were drawn by layouts beside their texts."""
        generator = self.parts.get("generator")
        return isinstance(generator, Mapping) and "layout" in generator

    @property
    def asks_for_pairs(self) -> bool:
        """Whether the prompts are pairs of before and after."""
        prompts = self.parts.get("prompts")
        return isinstance(prompts, Mapping) and bool(prompts.get("pairs"))

    @property
    def has_pairs(self) -> bool:
        """Whether each attempt is a pair of images, before and after, drawn by two layouts from the same noise."""
        return self.has_layouts and self.asks_for_pairs

    def attempt(self, label: str, k: int) -> tuple[str, int]:
        """The id (16 hexadecimal digits) and the seed (0 .. 2**63 - 1) of attempt `k` (from 0) of class `label`."""
        hashed = hashlib.sha256(f"{_before_k(self.hash, label)}{k}]".encode()).digest()
        return hashed.hex()[:ID_LENGTH], int.from_bytes(hashed[-8:], "big") >> 1


@lru_cache(maxsize=4096)
def _before_k(identity: str, label: str) -> str:
    """The canonical JSON of [identity, label, k], as far as it is the same for all k."""
    return canonical([identity, label, 0]).removesuffix("0]")


def canonical(value: object) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a JSON-able value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:ID_LENGTH]


def differences(old: Mapping[str, object], new: Mapping[str, object], called: Mapping[str, str] = MappingProxyType({}),
                names: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Every leaf in which two trees of settings differ, as "a.b.c: was X, now Y", sorted by key.

    Args:
        called: What people call leaves of `old` that are hashes, by their keys.
        names: Of `new`; a leaf that has no name here is shown as it is.

    Example:
        >>> from terrasynth.synthesis.core.identity import differences
        >>> differences({"seed": 0, "generator": {"steps": 4}}, {"seed": 0, "generator": {"steps": 8}})
        ['generator.steps: was 4, now 8']
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    found = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key):
            continue
        was, now = _apart(before.get(key, "absent"), after.get(key, "absent"))
        if key in names:
            was, now = called.get(key, "another") if key in before else "none", names[key]
        found.append(f"{key}: {now}{OTHER_CONTENT}" if was == now else f"{key}: was {was}, now {now}")
    return found


def some_differences(found: Sequence[str], most: int = 5) -> str:
    """What `differences` found, on one line: the first of them, and how many more there are."""
    return "; ".join(found[:most]) + (f"; and {len(found) - most} more" if len(found) > most else "")


def _leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            value = {str(number): each for number, each in enumerate(value)}
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", canonical(value)


def _apart(first: str, second: str, most: int = 60) -> list[str]:
    """Two texts, each of at most so many characters, of which the first in which they differ is one."""
    texts = (first, second)
    if max(map(len, texts)) <= most:
        return list(texts)
    same = next((place for place, (one, other) in enumerate(zip(*texts, strict=False)) if one != other),
                min(map(len, texts)))
    start = max(0, same - most // 4) if same > most // 2 else 0
    return [(ELLIPSIS if start else "") + shortened(text[start:], most) for text in texts]
