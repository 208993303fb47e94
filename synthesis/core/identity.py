"""What makes an attempt the same attempt: the identity of a run, and the id and seed of attempt k of a class.

`identity` hashes what decides an image (seed, generator with its weights and settings, prompts) and nothing else, so
that counts, filters, devices and micro-batches can change without touching a single id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ID_LENGTH = 16


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

    def attempt(self, label: str, k: int) -> tuple[str, int]:
        """The id (16 hexadecimal digits) and the seed (0 .. 2**63 - 1) of attempt `k` (from 0) of class `label`."""
        hashed = hashlib.sha256(canonical([self.hash, label, k]).encode()).digest()
        return hashed.hex()[:ID_LENGTH], int.from_bytes(hashed[-8:], "big") >> 1


def canonical(value: object) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a JSON-able value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:ID_LENGTH]


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Every leaf in which two identities differ, as "key: old -> new", sorted by key."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", canonical(value)
