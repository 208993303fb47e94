"""What a run has, and keeps when it is asked for less: a smaller target takes nothing away unless it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.plain_yaml import YamlError, read_yaml
from terrasynth.synthesis.ledger.block_files import UNREADABLE, unreadable_file
from terrasynth.synthesis.recipe import KeptRows, Recipe, TargetSettings

_LESS = (", and less is asked for than the run may have; verify it with --repair, or say --shrink, and what is beyond "
         "the target is given up")


def kept_rows(root: Path, recipe: Recipe, classes: tuple[str, ...], attempt_id: Callable[[str, int], str]
              ) -> dict[str, KeptRows]:
    """What a run has beyond what a recipe asks for, by class.

    Args:
        classes: The labels that are asked for.
        attempt_id: Gives the id of an attempt by label and k.

    Raises:
        RunError: The record of what it has is damaged.
    """
    before = recorded_recipe(root)
    if before is not None and not _asks_less(recipe, classes, before):
        return dict(recipe.target.kept)
    has = decided(root)
    if has is None:
        has = _in_data(root, attempt_id)
    sources = [has, recipe.target.kept, before.target.kept if before is not None else {}]
    most = {label: _most([each[label] for each in sources if label in each])
            for label in dict.fromkeys(label for each in sources for label in each)}
    return {label: each for label, each in most.items() if _beyond(each, label, recipe.target, classes)}


def recorded_recipe(root: Path) -> Recipe | None:
    """The recipe of the run's last call; None where there is none that can be read."""
    try:
        tree = read_yaml(root / layout.RECIPE)
        return Recipe.parse(tree) if isinstance(tree, dict) else None
    except (FileNotFoundError, YamlError, InputError):
        return None


def _asks_less(recipe: Recipe, classes: tuple[str, ...], before: Recipe) -> bool:
    now, then = recipe.target, before.target
    fewer = any(now.wanted(label) < then.wanted(label) for label in classes)
    if fewer or now.max_attempts < then.max_attempts or then.kept:
        return True
    named = before.class_names
    return named != recipe.class_names and (named is None or not set(named) <= set(classes))


def _beyond(has: KeptRows, label: str, target: TargetSettings, classes: tuple[str, ...]) -> bool:
    return label not in classes or has.rows > target.wanted(label) or has.attempts > target.max_attempts


def _most(found: list[KeptRows]) -> KeptRows:
    return KeptRows(rows=max(each.rows for each in found), attempts=max(each.attempts for each in found))


def decided(root: Path) -> dict[str, KeptRows] | None:
    """Accepted attempts by class as `decisions.parquet` has them; None where it is not there.

    Raises:
        RunError: The record is damaged.
    """
    path = root / layout.DECISIONS
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            table = file.read(columns=["label", "k", "accepted"])
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        raise unreadable_file(path, error, _LESS) from error
    accepted = table.filter(table.column("accepted"))
    grouped = accepted.group_by("label", use_threads=False).aggregate([("k", "count"), ("k", "max")]).to_pylist()
    return {row["label"]: KeptRows(rows=row["k_count"], attempts=row["k_max"] + 1) for row in grouped}


def _in_data(root: Path, attempt_id: Callable[[str, int], str]) -> dict[str, KeptRows]:
    """Rows by class as `data/` has them; of the attempts, the place of the last is found by its id."""
    ids: dict[str, set[str]] = {}
    for path in sorted(root.glob(layout.DATA)):
        try:
            with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
                table = file.read(columns=["id", "label"])
        except UNREADABLE as error:
            raise unreadable_file(path, error, _LESS) from error
        for row in table.to_pylist():
            ids.setdefault(row["label"], set()).add(row["id"])
    return {label: KeptRows(rows=len(own), attempts=_last(label, own, attempt_id) + 1) for label, own in ids.items()}


def _last(label: str, ids: set[str], attempt_id: Callable[[str, int], str]) -> int:
    left, k = len(ids), -1
    while left and k < 1000 * len(ids) + 10_000:  # ids of another run would never be found
        k += 1
        left -= attempt_id(label, k) in ids
    return k


def says_kept(kept: Mapping[str, KeptRows], target: TargetSettings) -> str:
    """One line on what is kept beyond a target."""
    first = [f"{label} {each.rows}" for label, each in list(kept.items())[:3]]
    more = f" and {len(kept) - len(first)} more classes" if len(kept) > len(first) else ""
    return (f"the run keeps rows that it has beyond what is asked for now (target.per_class {target.described}, "
            f"max_attempts {target.max_attempts}): {', '.join(first)}{more}; --shrink gives them up")
