from __future__ import annotations

import shutil

import pytest

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.references import check_safetensors, content_hash, embedded_models, resolve


@pytest.fixture
def roots(tmp_path):
    for root, name in (("a", "clip-ucm"), ("a", "scene-ucm"), ("b", "ldm-ucm")):
        folder = tmp_path / root / name
        folder.mkdir(parents=True)
        (folder / ("model_index.json" if name == "ldm-ucm" else "config.json")).write_text("{}")
    (tmp_path / "a" / "notes").mkdir()
    return [tmp_path / "a", tmp_path / "b", tmp_path / "missing"]


def test_embedded_models_are_the_folders_with_a_configuration(roots):
    assert list(embedded_models(roots)) == ["clip-ucm", "ldm-ucm", "scene-ucm"]


def test_an_embedded_name_wins_over_a_folder_of_that_name(roots, tmp_path, monkeypatch):
    (tmp_path / "clip-ucm").mkdir()
    (tmp_path / "clip-ucm" / "config.json").write_text('{"other": 1}')
    monkeypatch.chdir(tmp_path)
    resolved = resolve("clip-ucm", roots)
    assert (resolved.embedded, resolved.local, resolved.folder) == (True, True, tmp_path / "a" / "clip-ucm")


def test_an_existing_folder_is_a_local_model(roots, tmp_path):
    resolved = resolve(tmp_path / "b" / "ldm-ucm", [])
    assert (resolved.embedded, resolved.local, resolved.revision) == (False, True, None)


@pytest.mark.parametrize(
    ("reference", "location", "revision"),
    [
        ("owner/name", "owner/name", None),
        ("owner/name@v1.0", "owner/name", "v1.0"),
        ("owner/name.x_y@refs/pr/3", "owner/name.x_y", "refs/pr/3"),
    ],
)
def test_what_is_left_is_a_hub_id(reference, location, revision):
    resolved = resolve(reference, [])
    assert (resolved.location, resolved.revision, resolved.local) == (location, revision, False)
    assert resolved.identity("abc123") == {"model": location, "revision": "abc123"}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("clip-ucn", ["'clip-ucn'", "did you mean 'clip-ucm'?", "clip-ucm, ldm-ucm, scene-ucm", "owner/name"]),
        ("", ["unknown name"]),
        ("..", ["neither config.json nor model_index.json"]),
        ("/no/such/folder", ["'/no/such/folder'", "no such folder"]),
        ("a/b/c", ["'a/b/c'", "no such folder"]),
    ],
)
def test_unknown_references_say_what_there_is(roots, reference, words, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(InputError) as caught:
        resolve(reference, roots)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("reference", ["own/judge", "./own/judge", "{here}/own/judge"])
def test_what_is_not_yet_in_a_folder_that_is_here_is_no_hub_id(reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reference = reference.format(here=tmp_path)
    assert resolve("own/judge", []).local is False
    (tmp_path / "own").mkdir()
    with pytest.raises(InputError, match=r"judge' is no folder here, and .*own is: is its training finished\?"):
        resolve(reference, [])
    assert resolve("own/judge@main", []).location == "own/judge"


@pytest.mark.parametrize("left", [".training", ".cache", "checkpoint", "logs"])
def test_a_training_that_has_not_finished_is_called_so(left, tmp_path):
    (tmp_path / left).mkdir()
    with pytest.raises(InputError, match="its training has not finished; run the same `terrasynth train` again"):
        resolve(tmp_path, [])


def test_the_hash_depends_on_what_decides_outputs_and_on_nothing_else(clip_folder, tmp_path):
    copy = shutil.copytree(clip_folder, tmp_path / "elsewhere")
    original = content_hash(clip_folder)
    (copy / "README.md").write_text("a better card")
    (copy / "calibration.json").write_text("{}")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "download.json").write_text("{}")
    assert content_hash(copy) == original
    assert len(original) == 16
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert content_hash(copy) != original


def test_the_hash_notices_a_changed_weight_and_a_renamed_file(clip_folder, tmp_path):
    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    changed = content_hash(copy)
    (copy / "model.safetensors").rename(copy / "other.safetensors")
    assert len({content_hash(clip_folder), changed, content_hash(copy)}) == 3


def test_an_identity_holds_no_path(clip_folder, roots):
    assert resolve(clip_folder, []).identity() == {"model": "local", "content": content_hash(clip_folder)}
    assert resolve("clip-ucm", roots).identity()["model"] == "clip-ucm"


def test_pickled_and_missing_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no \.safetensors file"):
        check_safetensors(tmp_path, "mine")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"pickled \(pytorch_model\.bin\).*safe_serialization=True"):
        check_safetensors(tmp_path, "mine")
