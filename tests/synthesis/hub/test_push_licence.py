"""No push without a licence that the sources allow."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import DatasetCard

from terrasynth.synthesis.cards.licences import Source, Statement
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.hub.pushing import PushSettings, push
from tests.hub_runs import write_run
from tests.hub_server import published
from tests.synthesis.helpers import fingerprint

UNKNOWN = (Source("generator", "ldm", "other", "research-captions", found="its card"),
           Source("prompts", "grammar", "apache-2.0", found="this package"))
STRICT = (Source("generator", "sd", "cc-by-nc-4.0", found="its card"),)


@pytest.fixture
def unknown(tmp_path):
    return write_run(tmp_path / "run", 6, sources=UNKNOWN)


def test_an_unknown_licence_stops_it_before_anything_is_asked(hub, unknown):
    before = fingerprint(unknown)
    with pytest.raises(InputError, match=r"has to be stated: .*generator 'ldm': other \(research-captions\).*"):
        push(unknown, PushSettings("user/tiny"))
    assert hub.asked == []
    assert fingerprint(unknown) == before


def test_a_stated_licence_is_published_and_remembered(hub, unknown):
    push(unknown, PushSettings("user/tiny", stated=Statement("cc-by-nc-4.0")))
    text = published(hub)["README.md"].decode()
    assert DatasetCard(text).data.license == "cc-by-nc-4.0"
    assert "`cc-by-nc-4.0`, stated by user." in text
    assert "| generator | `ldm` | other (research-captions) | its card |" in text
    assert json.loads((unknown / "licence.json").read_text())["stated"]["by"] == "user"
    assert push(unknown, PushSettings("user/tiny")).commit == ""


def test_a_licence_of_ones_own_has_name_and_link(hub, unknown):
    push(unknown, PushSettings("user/tiny", stated=Statement("other", "research-only", "https://example.org/terms")))
    data = DatasetCard(published(hub)["README.md"].decode()).data
    assert (data.license, data.license_name, data.license_link) == (
        "other", "research-only", "https://example.org/terms")


def test_a_statement_cannot_drop_what_a_source_asks(hub, tmp_path):
    run = write_run(tmp_path / "run", 6, sources=STRICT)
    with pytest.raises(InputError, match=r"leaves out .*non-commercial, which generator 'sd' asks for"):
        push(run, PushSettings("user/tiny", stated=Statement("mit")))
    assert hub.asked == []
    push(run, PushSettings("user/tiny"))
    assert DatasetCard(published(hub)["README.md"].decode()).data.license == "cc-by-nc-4.0"


def test_the_command_says_what_to_state(hub, unknown, terrasynth):
    code, _, lines = terrasynth("push", unknown, "--repo", "user/tiny")
    assert code == 2
    assert len(lines) == 1
    assert "--licence cc-by-nc-4.0" in lines[0]
    code, out, _ = terrasynth("push", unknown, "--repo", "user/tiny", "--licence", "cc-by-nc-4.0", "--dry-run")
    assert code == 0
    assert "licence    cc-by-nc-4.0 (stated; the push writes it into the card)" in out


def test_sources_that_state_no_licence_are_named_though_one_is_stated(hub, tmp_path, terrasynth):
    sources = (Source("generator", "sd", "mit", found="its card"), Source("LoRA", "mine"), Source("prompts", "file a"))
    run = write_run(tmp_path / "run", 6, sources=sources)
    with pytest.raises(InputError, match=r"has to be stated: .*LoRA 'mine': not stated; prompts 'file a': not stated"):
        push(run, PushSettings("user/tiny"))
    said = ("note: nothing says under which licence these are: LoRA 'mine', prompts 'file a'; whoever stated 'mit' "
            "answers for their terms; what you wrote yourself needs no answer")
    for more in (("--dry-run",), (), ()):  # the last one has nothing to send
        code, out, lines = terrasynth("push", run, "--repo", "user/tiny", "--licence", "mit", *more)
        assert code == 0, lines
        assert said in (out.splitlines() if more else lines)


def test_nothing_is_said_where_every_source_states_one(hub, unknown):
    plan = push(unknown, PushSettings("user/tiny", stated=Statement("cc-by-nc-4.0"))).plan
    assert not any("nothing says" in note for note in plan.notes)
