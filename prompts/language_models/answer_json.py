"""The captions in what a model wrote: JSON as it was asked for, or as models wrap it all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain

READING = 2
"""How answers are read that are stored from now on; those of 1 are JSON of the asked form and nothing else."""

MOST_STARTS = 32  # places where JSON may begin that are tried
MOST_CAPTIONS = 1000  # of one answer that are looked at

_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_TEXTS = ("caption", "text", "description", "sentence", "prompt")


def captions_in(content: str, reading: int = READING) -> list[str] | None:
    """The captions of an answer; None where it has none that can be read.

    Beside `{"captions": [...]}` a bare list is read, an object with a single list, and objects with one caption each;
    in code fences, after thoughts (`<think>`), and with words before or behind it.

    Args:
        reading: 1 for answers that were stored before there was another way to read them.
    """
    if reading < READING:
        return _strict(_parsed(content))
    plain = _THOUGHTS.sub("", content)
    if "</think>" in plain:  # some servers cut the opening mark off
        plain = plain.rpartition("</think>")[2]
    parsed = (_parsed(text) for text in (plain, *_FENCE.findall(plain)))
    answers = (found for found in map(_lenient, chain(parsed, _inside(plain))) if found is not None)
    first = next(answers, None)
    return first if first else next((found for found in answers if found), first)  # an empty list may only be spoken of


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _inside(text: str) -> Iterator[object]:
    """JSON values that begin somewhere in a text."""
    decoder, tried, end = json.JSONDecoder(), 0, 0
    for match in re.finditer(r"[\[{]", text):
        if match.start() < end:
            continue
        tried += 1
        if tried > MOST_STARTS:
            return
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        yield value


def _strict(answer: object) -> list[str] | None:
    captions = answer.get("captions") if isinstance(answer, dict) else None
    if not isinstance(captions, list) or not all(isinstance(one, str) for one in captions):
        return None
    return captions


def _lenient(answer: object) -> list[str] | None:
    """The texts of a value that holds captions."""
    if isinstance(answer, dict):
        lists = [value for value in answer.values() if isinstance(value, list)]
        answer = answer.get("captions", lists[0] if len(lists) == 1 else None)
    if not isinstance(answer, list):
        return None
    found = [_text(one) for one in answer[:MOST_CAPTIONS]]
    texts = [one for one in found if one is not None]
    return texts if len(texts) == len(found) else None


def _text(value: object) -> str | None:
    if isinstance(value, dict):
        said = [value[key] for key in _TEXTS if isinstance(value.get(key), str)]
        value = said[0] if len(said) == 1 else None
    return value if isinstance(value, str) else None
