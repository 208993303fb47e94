"""What is ours on the Hub is what has the content that we put there: whatever somebody changed stays, or is named."""

from __future__ import annotations

import json

import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.hub.pushing import PushSettings, push
from tests.hub_runs import write_run
from tests.hub_server import published

REPO = PushSettings("user/tiny")
REPLACE = PushSettings("user/tiny", replace=True)
EDIT = b"\n## Known problems, by a person\n"


def edited(hub, path="README.md", text=EDIT):
    content = published(hub)[path] + text
    hub.edit("user/tiny", {path: content})
    return content


def test_a_card_that_was_edited_is_not_overwritten(hub, made):
    push(made, REPO)
    card = edited(hub)
    write_run(made, 30, per_shard=6)
    with pytest.raises(InputError, match=r"'README.md' was changed on the Hub since the last push; .* add --replace"):
        push(made, REPO)
    assert published(hub)["README.md"] == card
    said = []
    push(made, REPLACE, said.append)
    assert EDIT not in published(hub)["README.md"]
    assert "note: README.md was changed on the Hub since the last push, and is overwritten" in said


def test_a_dry_run_refuses_it_too(hub, made):
    push(made, REPO)
    edited(hub)
    with pytest.raises(InputError, match="was changed on the Hub"):
        push(made, PushSettings("user/tiny", dry=True))


def test_an_edit_that_says_what_is_here_is_nothing(hub, made):
    push(made, REPO)
    write_run(made, 30, per_shard=6)
    wanted = push(made, PushSettings("user/tiny", dry=True)).plan.send
    card = next(file for file in wanted if file.path == "README.md")
    hub.edit("user/tiny", {"README.md": card.source})
    assert push(made, REPO).commit


def test_an_edited_card_is_met_even_where_nothing_else_is_new(hub, made):
    push(made, REPO)
    card = edited(hub)
    with pytest.raises(InputError, match="was changed on the Hub"):
        push(made, REPO)
    assert published(hub)["README.md"] == card


def test_nothing_is_removed_because_the_manifest_names_it(hub, made):
    push(made, REPO)
    manifest = json.loads(published(hub)["terrasynth.json"])
    manifest["files"] += ["precious.bin", ".gitattributes"]
    hub.edit("user/tiny", {"precious.bin": b"p", "terrasynth.json": json.dumps(manifest).encode()})
    write_run(made, 30, per_shard=6)
    push(made, REPLACE)
    assert published(hub)["precious.bin"] == b"p"
    assert ".gitattributes" in published(hub)


def test_a_file_that_the_folder_has_no_more_stays_where_it_was_changed(hub, made):
    (made / "prompt_drops.json").write_text("{}")
    push(made, REPO)
    (made / "prompt_drops.json").unlink()
    content = edited(hub, "prompt_drops.json", b" ")
    result = push(made, REPO)
    assert result.plan.remove == ()
    assert published(hub)["prompt_drops.json"] == content
    assert "prompt_drops.json was changed on the Hub since the last push, and is left there" in result.plan.notes


def test_a_shard_that_was_changed_is_neither_mixed_in_nor_lost(hub, made):
    push(made, REPO)
    hub.edit("user/tiny", {"data/train-00003.parquet": b"theirs"})
    with pytest.raises(InputError, match=r"'data/train-00003.parquet' was changed on the Hub"):
        push(made, REPO)
    write_run(made, 12, per_shard=6)
    with pytest.raises(InputError, match=r"train-00003.parquet', which was changed there and which would be mixed"):
        push(made, REPLACE)
    assert published(hub)["data/train-00003.parquet"] == b"theirs"


def test_what_an_earlier_version_pushed_is_taken_over_once(hub, made):
    push(made, REPO)
    manifest = json.loads(published(hub)["terrasynth.json"])
    del manifest["hashes"]
    hub.edit("user/tiny", {"terrasynth.json": json.dumps(manifest).encode()})
    write_run(made, 30, per_shard=6)
    with pytest.raises(InputError, match=r"kept no hashes .* add --replace once"):
        push(made, REPO)
    push(made, REPLACE)
    write_run(made, 36, per_shard=6)
    assert push(made, REPO).commit
