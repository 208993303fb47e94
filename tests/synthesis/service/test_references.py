"""What a request may name: never a path, never what lies outside of two folders."""

from __future__ import annotations

import pytest

from terrasynth.synthesis import Recipe
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.references import Places, check_plain, check_recipe, expander_options, named, placed

PATHS = ["/etc/passwd", "../outside", "inside/../../outside", "~/model", "./inside", "inside/..", "..", ".", "",
         "C:\\model", "\\\\host\\share", "file:///etc", "inside\0", "/", "//host/share", "a/b/c/d", "linked", ".hidden"]


@pytest.fixture
def folders(tmp_path):
    for name in ("models/inside", "models/team/deep", "models/.hidden", "outside", "data/captions"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "models" / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "models" / "near").symlink_to(tmp_path / "models" / "inside")
    (tmp_path / "data" / "captions" / "train.txt").write_text("a beach\n")
    (tmp_path / "data" / "secret").symlink_to("/etc/passwd")
    return tmp_path


@pytest.fixture
def places(folders):
    return Places(folders / "models", folders / "data", ("https://llm.example/v1",))


def test_a_model_inside_the_folder_is_found_by_name(places, folders):
    assert places.model("inside") == str(folders / "models" / "inside")
    assert places.model("team/deep") == str(folders / "models" / "team" / "deep")
    assert places.model("near") == str(folders / "models" / "near")


@pytest.mark.parametrize("name", ["ldm-ucm", "clip-ucm", "ldm-ucm/vae", "thumbnail", "owner/name", "owner/name@v1.0"])
def test_embedded_models_and_ids_of_the_hub_stay_as_they_are(places, name):
    assert places.model(name) == name


@pytest.mark.parametrize("path", PATHS)
def test_no_path_is_a_model(places, path):
    with pytest.raises(InputError, match=r"neither embedded|no part of an embedded"):
        places.model(path)


@pytest.mark.parametrize("path", [*PATHS, "secret", "captions/../../outside", "owner/name"])
def test_no_path_is_data(places, path):
    with pytest.raises(InputError, match="the server has no such data"):
        places.file(path)


def test_data_inside_the_folder_is_found_by_name(places, folders):
    assert places.file("captions/train.txt") == str(folders / "data" / "captions" / "train.txt")


def test_without_folders_nothing_lies_inside(folders):
    with pytest.raises(InputError, match="was started without --data"):
        Places().file("captions")
    with pytest.raises(InputError, match="neither embedded"):
        Places().model("inside")


def tree(**further):
    return {"generator": {"model": "inside", "lora": "near", "vae": "ldm-ucm/vae"}, **further}


def test_a_recipe_gets_the_folders_of_this_machine_and_gives_them_back(places, folders):
    given = tree(
        prompts={"expander": "captions", "path": "captions/train.txt", "checks": {"reference": "captions/train.txt"}},
        filters=[{"kind": "alignment", "encoder": "inside", "min_score": 0.1},
                 {"kind": "near_copy", "reference": "captions/train.txt", "max_similarity": 0.9}])
    found = placed(given, places)
    assert found["generator"] == {"model": str(folders / "models/inside"), "lora": str(folders / "models/near"),
                                  "vae": "ldm-ucm/vae"}
    data = str(folders / "data/captions/train.txt")
    assert (found["prompts"]["path"], found["prompts"]["checks"]["reference"]) == (data, data)
    assert [each.get("reference", each.get("encoder")) for each in found["filters"]] == [
        str(folders / "models/inside"), data]
    assert given["generator"]["model"] == "inside"
    assert named(found, places) == given
    assert check_recipe(given, places) == Recipe.parse(given)


@pytest.mark.parametrize("further", [
    {"generator": {"model": "/etc"}},
    {"generator": {"model": "ldm-ucm", "lora": "/etc/x.safetensors"}},
    {"generator": {"model": "ldm-ucm", "vae": "../vae"}},
    {"prompts": {"expander": "captions", "path": "/etc/passwd"}},
    {"prompts": {"expander": "file", "path": "../x"}},
    {"prompts": {"expander": "lm", "model": "/models/x"}},
    {"prompts": {"expander": "lm", "model": "owner/name", "cache": "cache"}},
    {"prompts": {"expander": "openai", "model": "m", "cache": "/tmp"}},
    {"prompts": {"expander": "openai", "model": "m", "base_url": "http://169.254.169.254/v1"}},
    {"prompts": {"expander": "openai", "model": "m", "api_key_env": "AWS_SECRET_ACCESS_KEY"}},
    {"prompts": {"expander": "captions", "path": ["a"]}},
    {"prompts": {"expander": "of_a_plug_in", "any": "/etc/passwd"}},
    {"prompts": {"expander": "of_a_plug_in", "any": {"deep": ["../x"]}}},
    {"prompts": {"checks": {"reference": "/etc/passwd"}}},
    {"filters": [{"kind": "alignment", "encoder": "/etc", "min_score": 0.1}]},
    {"filters": [{"kind": "near_copy", "reference": "/etc/passwd", "max_similarity": 0.9}]},
])
def test_no_recipe_of_a_request_names_a_path(places, further):
    with pytest.raises(InputError) as error:
        check_recipe(tree(**further), places)
    assert "\n" not in str(error.value)


def test_an_endpoint_that_the_server_knows_may_be_asked(places):
    options = {"model": "m", "base_url": "https://llm.example/v1/"}
    assert expander_options("openai", options, places) == options


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a\0b", "\ud800", 2**70, [[float("-inf")]], {"\0": 1}])
def test_what_no_file_takes_is_refused(value):
    with pytest.raises(InputError):
        check_plain({"key": value})


def test_bodies_have_a_depth_and_a_size():
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    for value in (deep, list(range(200_001))):
        with pytest.raises(InputError, match="values or"):
            check_plain(value)
