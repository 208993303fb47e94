"""The `file` expander: prompts that the user wrote, from JSON Lines, CSV or text."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from terrasynth.errors import nearest
from terrasynth.hashing import text_hash
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.reading import LABEL_RULE, existing, fail, is_label, label_of, parse_json, records, text_of
from terrasynth.prompts.scenes.entailment import DrawnPrompt
from terrasynth.prompts.types import Prompt, check_request

log = logging.getLogger("terrasynth")
FIELDS = ("text", "label", "captions", "scene", "source", "layout", "edit", "text_after")


class FileExpander:
    """Prompts from a file, class by class, in the order of the file; after the last one of a class comes its first.

    A row has `text`, and optionally `label` (a must without the option), `captions` (other ways to say it: a list, in
    CSV as JSON), `scene` (a JSON object), `source` (the expander that wrote it, "file" if none) and `layout` (what lies
    where, as the expander `layout` writes it). With `edit` and `text_after`, which all rows have or none, it is a pair
    of before and after. The same text under another attempt still gives another image, since
    each attempt has its own seed. Captions and scenes count as far as the text implies them
    (`prompts.scenes.entailment`): a caption that says more was not drawn.

    Attributes:
        classes: The labels, in order of first appearance.
    """

    name = "file"

    def __init__(self, path: str | Path, label: str | None = None) -> None:
        """Read and check the whole file.

        Args:
            path: A `.jsonl`, `.csv` (with header) or `.txt`/`.tsv` (`label<TAB>text`, or `text` with `label`) in UTF-8.
            label: Class of the rows that name none.

        Raises:
            InputError: The file is missing, empty or of another kind, or a row is wrong: file name, line and reason.
        """
        file = existing(path, self.name)
        if label is not None and not is_label(label):
            raise InputError(f"option label {label!r} of the file expander {LABEL_RULE}")
        self._prompts: dict[str, list[Prompt]] = {}
        for line, row in records(file, label):
            prompt = _prompt(file, line, row, label)
            self._prompts.setdefault(prompt.label, []).append(prompt)
        if not self._prompts:
            raise InputError(f"file {str(path)!r} has no prompt; write one a line")
        self.classes = tuple(self._prompts)
        every = [one for prompts in self._prompts.values() for one in prompts]
        self._name, self._painted = file.name, set[tuple[str, str]]()
        self._pairs = any(one.edit for one in every)
        if self._pairs and not all(one.edit for one in every):
            raise InputError(f"file {str(path)!r} has rows with an edit and rows without; put them into two files")
        self._tell_of_left_out(file)

    def identity(self) -> dict[str, object]:
        """Expander and hash of the prompts, in order; line ends, quoting and the file's name do not count."""
        rows = [[one.label, one.text, one.choices, one.whole, one.source,
                 *filter(None, [one.layout, one.edit, one.text_after])]
                for prompts in self._prompts.values() for one in prompts]
        digest = text_hash(json.dumps(rows, ensure_ascii=False))
        return {"expander": self.name, "prompts": digest, **({"pairs": True} if self._pairs else {})}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; attempt k is row k of the class, modulo their number, whatever the seed.

        Raises:
            InputError: Of pairs: an edit says that something is done and changes no label, or the other way round.
        """
        check_request(self, label, start, count)
        rows = self._prompts[label]
        found = [rows[k % len(rows)] for k in range(start, start + count)]
        for one in found:
            if one.edit and (key := (one.layout, one.edit)) not in self._painted:  # which takes too long for all rows
                self._check(one)
                self._painted.add(key)
        return found

    def _check(self, pair: Prompt) -> None:
        from terrasynth.prompts.layouts.changes import pair_of

        try:
            pair_of(pair.layout, pair.edit)
        except InputError as error:
            raise InputError(f"{self._name}: the pair {pair.text[:60]!r} of class {pair.label!r}: {error}") from error

    def _tell_of_left_out(self, file: Path) -> None:
        every = [one for prompts in self._prompts.values() for one in prompts]
        more = [next(text for text in one.choices if text not in one.captions) for one in every
                if len(one.captions) < len(one.choices)]
        if more:
            log.warning("%s: %d of %d prompts have captions that say more than their text, such as %r; they are left "
                        "out, since only the text is drawn", file.name, len(more), len(every), more[0][:80])


def _prompt(file: Path, line: int, row: dict[str, Any], default_label: str | None) -> Prompt:
    for field in row:
        if field not in FIELDS:
            fail(file, line, f"field {field!r} is unknown{nearest(str(field), FIELDS)}; there is {', '.join(FIELDS)}")
    if "text" not in row:
        fail(file, line, "no text; every row needs one")
    if row.get("label", default_label) is None:
        fail(file, line, "no class; add the field label, or set the option label")
    text = text_of(file, line, "text", row["text"])
    layout = _layout(file, line, row.get("layout", ""))
    edit = _edit(file, line, row.get("edit", ""), layout)
    after = row.get("text_after", "")
    if bool(edit) is not (after not in ("", None)):
        fail(file, line, "edit and text_after belong together; a pair has both")
    return DrawnPrompt(
        text,
        label=label_of(file, line, row.get("label", default_label)),
        choices=_captions(file, line, text, row.get("captions", [])),
        source=text_of(file, line, "source", row.get("source", FileExpander.name)),
        scene=_scene(file, line, row.get("scene", {})),
        layout=layout,
        edit=edit,
        text_after=text_of(file, line, "text_after", after) if edit else "",
    )


def _captions(file: Path, line: int, text: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = parse_json(file, line, "captions", value)
    if not isinstance(value, list):
        fail(file, line, f"captions {value!r} must be a list of texts")
    return tuple(dict.fromkeys([text, *(text_of(file, line, "caption", one) for one in value)]))


def _scene(file: Path, line: int, value: object) -> str:
    if isinstance(value, str):
        value = parse_json(file, line, "scene", value)
    if not isinstance(value, dict):
        fail(file, line, f"scene {value!r} must be a JSON object")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _layout(file: Path, line: int, value: object) -> str:
    """A layout as `Layout.to_json` has it, or ""."""
    if value in ("", None):
        return ""
    from terrasynth.prompts.layouts.layout import Layout

    try:
        return Layout.from_json(value if isinstance(value, str) else json.dumps(value)).to_json()
    except InputError as error:
        fail(file, line, str(error))


def _edit(file: Path, line: int, value: object, layout: str) -> str:
    """An edit of the layout as `Edit.to_json` has it, or ""."""
    if value in ("", None):
        return ""
    from terrasynth.prompts.layouts.changes import Edit, layout_after

    if not layout:
        fail(file, line, "an edit, and no layout that it edits")
    try:
        found = Edit.from_json(value if isinstance(value, str) else json.dumps(value)).to_json()
        layout_after(layout, found)
    except InputError as error:
        fail(file, line, str(error))
    return found
