"""A checkpoint is gone on with by its own training only; the precision is what the processor can do."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import terrasynth.synthesis.core.machine
import terrasynth.training.train
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.errors import InputError
from terrasynth.training.families.scene import SceneSettings, SceneTask
from terrasynth.training.running.loop import train
from terrasynth.training.running.same_training import FILE, changes, data_digest, resolved
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.train import run_preset

TINY = {"size": 32, "embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}
LOOP = {"max_steps": 4, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 1, "validate_every": 2,
        "preview_every": 2, "checkpoint_every": 2}
CPU = torch.device("cpu")


def settings(**changes):
    return LoopSettings.model_validate({**LOOP, **changes})


def task(real):
    torch.manual_seed(0)
    return SceneTask(load_splits(read_pairs(real), 40), SceneSettings(**TINY), CPU)


def weights(out):
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize(("changes", "more", "message"), [
    ({"seed": 5}, {}, "loop.seed: was 0, now 5"),
    ({"batch_size": 8}, {}, "loop.batch_size: was 4, now 8"),
    ({"learning_rate": 0.5}, {}, "loop.learning_rate: was 0.01, now 0.5"),
    ({"mixed_precision": "bf16"}, {}, "loop.mixed_precision: was \"no\", now \"bf16\""),
    ({}, {"data": "b"}, "data: was \"a\", now \"b\""),
    ({}, {"classes": ["x"]}, "classes: was [\"x\",\"y\"], now [\"x\"]"),
    ({"max_steps": 8}, {"model": {"size": 48}}, "model.size: was 32, now 48"),
])
def test_the_checkpoint_of_another_training_is_refused(real, tmp_path, changes, more, message):
    own = {"data": "a", "classes": ["x", "y"], "model": {"size": 32}}
    train(task(real), settings(mixed_precision="no"), tmp_path, more=own)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as refused:
        train(task(real), settings(**{"mixed_precision": "no"} | changes), tmp_path, more=own | more)
    assert message in str(refused.value)
    assert "--restart" in str(refused.value)
    kept = {path: path.read_bytes() for path in before if "tfevents" not in path.name}
    assert kept == {path: before[path] for path in kept}
    assert train(task(real), settings(**{"mixed_precision": "no"} | changes), tmp_path, resume=False,
                 more=own | more).steps == changes.get("max_steps", 4)


def test_more_steps_and_other_looks_go_on(real, tmp_path):
    train(task(real), settings(), tmp_path / "a", more={"data": "a"})
    longer = settings(max_steps=8, minutes=60, validate_every=4, preview_every=1, checkpoint_every=8)
    assert train(task(real), longer, tmp_path / "a", more={"data": "a"}).steps == 8


@pytest.mark.parametrize("damage", ["flipped", "missing", "record"])
def test_a_damaged_checkpoint_is_named(real, tmp_path, damage):
    train(task(real), settings(), tmp_path)
    path = tmp_path / "checkpoint" / ("model.safetensors" if damage != "record" else FILE)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    if damage == "missing":
        path.unlink()
    with pytest.raises(InputError, match=f"{path.name}.*--restart"):
        train(task(real), settings(max_steps=8), tmp_path)


def test_a_checkpoint_of_an_earlier_version_is_refused(real, tmp_path):
    train(task(real), settings(), tmp_path)
    (tmp_path / "checkpoint" / FILE).unlink()
    with pytest.raises(InputError, match=r"of an earlier version.*--restart"):
        train(task(real), settings(max_steps=6), tmp_path)
    assert train(task(real), settings(max_steps=6), tmp_path, resume=False).steps == 6


@pytest.mark.parametrize(("units", "expected"), [
    ({}, "no"), ({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx512_f": True}, "no"),
])
def test_the_units_of_the_processor_choose_the_precision(monkeypatch, units, expected):
    monkeypatch.setattr(terrasynth.synthesis.core.machine, "_capabilities", lambda: units)
    for name in terrasynth.synthesis.core.machine.LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert settings().mixed_precision == "auto"
    assert resolved(settings(), CPU).mixed_precision == expected
    assert resolved(settings(mixed_precision="fp16"), CPU).mixed_precision == "fp16"


def test_a_training_keeps_the_precision_that_it_began_with(real, tmp_path, monkeypatch):
    train(task(real), settings(), tmp_path)
    before = json.loads((tmp_path / "checkpoint" / FILE).read_text())["made from"]["loop"]["mixed_precision"]
    other = {"no": {"amx_bf16": True}, "bf16": {}}[before]
    monkeypatch.setattr(terrasynth.synthesis.core.machine, "_capabilities", lambda: other)
    assert train(task(real), settings(max_steps=6), tmp_path).steps == 6


def test_the_data_are_told_by_pixels_classes_and_captions(real):
    splits = load_splits(read_pairs(real), 40)
    known = {data_digest(splits)}
    for change in ("pixels", "labels", "captions", "label_names"):
        from dataclasses import replace

        own = splits["train"]
        changed = {
            "pixels": own.pixels ^ 1, "labels": own.labels + 1, "captions": own.captions[::-1],
            "label_names": tuple(f"{name} of old" for name in own.label_names),
        }[change]
        known.add(data_digest(splits | {"train": replace(own, **{change: changed})}))
    assert len(known) == 5
    assert data_digest(splits) in known


def test_the_preset_is_refused_for_other_data_and_classes(real, tmp_path):
    """The whole command: the old model under a new name was what came of it."""
    overrides = {"load_size": 40, **{f"model.{key}": value for key, value in TINY.items()},
                 **{f"loop.{key}": value for key, value in LOOP.items()}}
    run_preset("scene-ucm", real, tmp_path / "out", overrides=overrides)
    before = (tmp_path / "out" / "training.json").read_text()
    other = shutil.copytree(real, tmp_path / "other")
    listed = other / "pairs.jsonl"
    listed.write_text(listed.read_text().replace('"class": "beach"', '"class": "shore"'))
    assert "shore" in listed.read_text()
    with pytest.raises(InputError, match=r"classes: was .*; data: was real\d* \(48 train and 12 val .*, now other "):
        run_preset("scene-ucm", other, tmp_path / "out", overrides=overrides)
    with pytest.raises(InputError, match=r"loop\.seed: was 0, now 7"):
        run_preset("scene-ucm", real, tmp_path / "out", overrides=overrides | {"loop.seed": 7})
    assert (tmp_path / "out" / "training.json").read_text() == before
    run_preset("scene-ucm", real, tmp_path / "out", overrides=overrides)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "beach" in config["id2label"].values()


def test_a_stage_whose_needs_were_trained_further_begins_anew(tmp_path, capsys):
    from terrasynth.training.running.same_training import model_digest

    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / "config.json").write_text("{}")
    first = model_digest(stage)
    (stage / "training.json").write_text("{}")
    (stage / "checkpoint").mkdir()
    (stage / "checkpoint" / "model.safetensors").write_bytes(b"of its own training")
    assert model_digest(stage) == first
    from terrasynth.synthesis.core.records import write_record

    checkpoint = tmp_path / "next" / "checkpoint"
    checkpoint.mkdir(parents=True)
    write_record(checkpoint / FILE, {"made from": {"needs": {"base": first}}, "files": {}})
    (checkpoint / "complete").touch()
    changed = terrasynth.training.train._needs_changed
    assert changed(checkpoint, {"needs": {"base": first}}, {"stage": stage}) is False
    assert changed(checkpoint, {"needs": {"base": "other"}}, {}) is False
    assert changed(checkpoint, {"needs": {"base": "other"}}, {"stage": stage}) is True
    assert "next begins anew" in capsys.readouterr().err


def test_changes_are_named_by_their_whole_place_and_hashes_by_what_people_call_them():
    assert changes({"a": {"b": 1}, "c": 2, "e": None}, {"a": {"b": 2}, "d": 3}, {}, {}) == (
        "a.b: was 1, now 2; c: was 2, now absent; d: was absent, now 3")
    old, new = {"data": "5f", "needs": {}}, {"data": "c0", "needs": {"encoder": "17"}}
    named = {"data": "photos (8 train and 2 val images)", "needs.encoder": "runs/vae"}
    assert changes(old, new, {"data": "ucm (80 train and 9 val images)"}, named) == (
        "data: was ucm (80 train and 9 val images), now photos (8 train and 2 val images); "
        "needs.encoder: was none, now runs/vae")
    assert changes(old, new, named, named).startswith("data: photos (8 train and 2 val images), whose content is ")
    assert changes(old, old, {}, named) == ""
    assert changes({}, dict.fromkeys("abcdefg", 1), {}, {}).endswith("e: was absent, now 1; and 2 more")
