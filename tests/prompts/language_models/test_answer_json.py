"""Captions in what models really write round the JSON that they were asked for."""

import json

import pytest

from terrasynth.prompts.language_models.answer_json import MOST_CAPTIONS, captions_in

TEXTS = ["A harbor with two boats.", 'A "busy" harbor [old].', "A harbor {small}."]
ASKED = json.dumps({"captions": TEXTS})


@pytest.mark.parametrize("content", [
    ASKED,
    f"  {ASKED}\n",
    f"```json\n{json.dumps({'captions': TEXTS}, indent=2)}\n```",
    f"```\n{ASKED}\n```",
    f"```json\n{ASKED}",
    f"<think>\nThe user wants {{captions}}: [1, 2].\n</think>\n\n{ASKED}",
    f"reasoning about [it]\n</think>\n{ASKED}",
    f"<think>no</think>```json\n{ASKED}\n```",
    f"Here are the captions:\n{ASKED}\nI hope [this] helps!",
    json.dumps(TEXTS),
    f"```json\n{json.dumps(TEXTS)}\n```",
    json.dumps({"captions": [{"caption": text} for text in TEXTS]}),
    json.dumps([{"id": number, "text": text} for number, text in enumerate(TEXTS)]),
    json.dumps({"sentences": TEXTS, "count": 3}),
    f"Note [1]: see {{x}}. {ASKED}",
])
def test_what_is_read(content):
    assert captions_in(content) == TEXTS


@pytest.mark.parametrize("content", [
    "", "none", "{", "3", "null", '"A harbor."', '{"captions": "A harbor."}', '{"captions": [1]}', '{"a": [], "b": []}',
    '{"captions": [{"caption": "a", "text": "b"}]}', "[" * 200_000, '{"captions":' * 50_000, "[" * 5000 + "]" * 5000,
    f"<think>{ASKED}", "```json\n```", "[1, 2]", '{"captions": [["A harbor."]]}',
])
def test_what_is_not(content):
    assert captions_in(content) is None


@pytest.mark.parametrize("content", [
    f'At first I thought {{"captions": []}}, but: {ASKED}', f"```json\n[]\n```\n```json\n{ASKED}\n```",
])
def test_an_empty_list_before_the_answer_is_not_it(content):
    assert captions_in(content) == TEXTS


def test_an_empty_list_alone_is_an_answer_without_captions():
    assert captions_in('{"captions": []}') == []


def test_answers_that_were_stored_before_are_read_as_they_were():
    assert captions_in(ASKED, reading=1) == TEXTS
    assert captions_in(f"```json\n{ASKED}\n```", reading=1) is None
    assert captions_in(json.dumps(TEXTS), reading=1) is None


def test_so_many_are_looked_at():
    assert len(captions_in(json.dumps(["A harbor."] * (MOST_CAPTIONS + 1)))) == MOST_CAPTIONS
