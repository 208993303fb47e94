"""The small records of a run: what was changed in one is named, and nothing of it is believed."""

import json
import random
import shutil

import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.records import LIMIT_BYTES, RecordError, read_object, read_record, write_record
from terrasynth.synthesis.generators.runtime import ARITHMETIC, Runtime
from terrasynth.synthesis.ledger.finished import Finished
from terrasynth.synthesis.ledger.frozen import Frozen
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import as_of_an_earlier_version, fingerprint, resealed, rows


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """A finished run of two small classes, and its recipe."""
    recipe = Recipe.parse({
        "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
        "prompts": {"classes": ["beach", "river"]},
        "filters": [{"kind": "alignment", "encoder": str(models.encoder), "min_score": -1.0}],
        "target": {"per_class": 3, "max_attempts": 8},
        "runtime": {"block_size": 2, "device": "cpu", "dtype": "float32"},
    })
    out = tmp_path_factory.mktemp("made") / "run"
    run(recipe, out)
    return recipe, out


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made[1], tmp_path / "run")


@pytest.mark.parametrize("content", [{}, {"a": 1}, {"text": "ä\u2028😀\ud800", "deep": [[{"b": None}]], "n": 0.1}])
def test_a_record_is_read_as_it_was_written(tmp_path, content):
    write_record(tmp_path / "r.json", content)
    assert read_record(tmp_path / "r.json") == content
    write_record(tmp_path / "again.json", content)
    assert (tmp_path / "r.json").read_bytes() == (tmp_path / "again.json").read_bytes()


@pytest.mark.parametrize(("text", "what"), [
    ("", "is no JSON"), ("{", "is no JSON"), ("[]", "holds no JSON object"), ('{"a": NaN}', "NaN is no number"),
    ('{"a": 1, "a": 2}', "key 'a' stands twice"), ("[" * 100_000, "is no JSON"), ('{"a": "\xff"}', "is no JSON"),
    ('{"a": 1, "sha256": "0"}', "its hash is another"), ('{"a": 1, "sha256": null}', None),
])
def test_what_is_no_record_is_said(tmp_path, text, what):
    (tmp_path / "r.json").write_bytes(text.encode("latin-1"))
    if what is None:
        assert read_record(tmp_path / "r.json") == {"a": 1}
        return
    with pytest.raises(RecordError, match=what):
        read_record(tmp_path / "r.json")


def test_a_record_without_bounds_is_not_read(tmp_path):
    with (tmp_path / "r.json").open("wb") as file:
        file.truncate(LIMIT_BYTES + 1)
    with pytest.raises(RecordError, match="is larger than 64 MiB"):
        read_object(tmp_path / "r.json")


@pytest.mark.parametrize(("name", "read"), [
    ("runtime.json", lambda root: Runtime.read(root)), ("identity.json", lambda root: Frozen.read(root)),
    ("finished.json", lambda root: Finished.read(root)),
])
def test_every_flipped_bit_is_noticed_or_changes_nothing(copy, name, read):
    """White space and how a letter is escaped may change: what is read then is what was written."""
    path, before = copy / name, read(copy)
    content, moments, noticed = path.read_bytes(), random.Random(0), 0
    for _ in range(400):
        bit = moments.randrange(8 * len(content))
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert read(copy) == before
        except RecordError:
            noticed += 1
    assert noticed > 300


VALUES = [
    ("device", 7), ("device", "cpu; rm"), ("dtype", "float64"), ("micro_batch", 0), ("micro_batch", -1),
    ("micro_batch", 10**9), ("micro_batch", "3"), ("micro_batch", True), ("threads", 0), ("threads", 2.5),
    ("torch", None), ("arithmetic", 0), ("arithmetic", ARITHMETIC + 1), ("arithmetic", "2"), ("attention", "flash"),
    ("compile", "no"), ("offload", "disk"), ("vae_slicing", 1), ("exact", "yes"), ("processor", ["x"]),
    ("others", [{}]), ("measured", {"float32": "fast"}), ("unknown", 1),
]


@pytest.mark.parametrize(("key", "value"), VALUES, ids=lambda value: str(value)[:20])
def test_an_impossible_runtime_is_one_line_everywhere(copy, made, terrasynth, tmp_path, key, value):
    """Even where the hash fits, as in a record that a program of somebody else's wrote."""
    resealed(copy / "runtime.json", {key: value})
    recipe = tmp_path / "recipe.yaml"
    write_file(recipe, (copy / "recipe.yaml").read_bytes())
    code, out, lines = terrasynth("run", recipe, "--out", copy, "--set", "target.per_class=5")
    assert (code, out, len(lines)) == (1, "", 1)
    assert f"{copy / 'runtime.json'} cannot be believed: {key}" in lines[0]
    faults = [fault for fault in verify(copy) if fault.file == "runtime.json"]
    assert [fault.remedy.name for fault in faults] == ["WRITE"]


@pytest.mark.parametrize(("key", "value"), [("arithmetic", 1), ("dtype", "bfloat16"), ("exact", False)])
def test_a_runtime_that_speaks_of_another_way_than_the_blocks_is_named_and_mended(copy, made, key, value):
    whole = fingerprint(copy / "blocks")
    resealed(copy / "runtime.json", {key: value})
    (fault,) = verify(copy)
    assert (fault.file, fault.remedy.name) == ("runtime.json", "WRITE")
    assert f"{key}: " in fault.what
    with pytest.raises(RunError, match="says that the run was drawn otherwise"):
        run(made[0], copy)
    (copy / "runtime.json").unlink()
    (copy / "blocks" / "beach" / "00001.parquet").unlink()
    run(made[0], copy)
    assert fingerprint(copy / "blocks") == whole
    assert list(verify(copy)) == []


def test_the_runtime_of_another_run_is_named(copy, made):
    resealed(copy / "runtime.json", {"identity": "0123456789abcdef"})
    (fault,) = verify(copy)
    assert "it is of a run with identity 0123456789abcdef" in fault.what
    with pytest.raises(RunError, match="it is of a run with identity"):
        run(made[0], copy)


@pytest.mark.parametrize(("changes", "what"), [
    ({"block_size": 0}, "block_size 0 is impossible"), ({"block_size": "2"}, "block_size '2' is impossible"),
    ({"image_format": "bmp"}, "image_format 'bmp' is impossible"), ({"identity": "f" * 16}, "its parts give"),
    ({"parts": [1]}, "its parts give"), ({"more": 1}, "it holds block_size, identity"),
])
def test_an_impossible_identity_is_named(copy, made, changes, what):
    resealed(copy / "identity.json", changes)
    with pytest.raises(RunError, match=what):
        run(made[0], copy)
    assert [fault.file for fault in verify(copy)] == ["identity.json"]


def test_a_block_size_that_was_changed_is_not_taken_for_damage_of_all_blocks(copy, made):
    content = json.loads((copy / "identity.json").read_text())
    (copy / "identity.json").write_text(json.dumps(content | {"block_size": 3}))
    with pytest.raises(RunError, match=r"identity\.json cannot be believed"):
        run(made[0], copy)
    assert {fault.remedy.name for fault in verify(copy)} == {"WRITE"}
    (copy / "identity.json").unlink()
    run(made[0], copy)
    assert list(verify(copy)) == []


def test_a_lost_identity_keeps_the_size_of_the_blocks(made, copy):
    recipe = Recipe.parse(made[0].tree() | {"runtime": {"block_size": "auto", "device": "cpu", "dtype": "float32"}})
    (copy / "identity.json").unlink()
    run(recipe, copy)
    assert Frozen.read(copy).block_size == 2


def test_a_flipped_count_does_not_make_a_run_done(made, copy, caplog):
    text = (copy / "finished.json").read_text()
    (copy / "finished.json").write_text(text.replace('"accepted": 3', '"accepted": 2', 1))
    (fault,) = verify(copy)
    assert (fault.file, fault.remedy.name) == ("finished.json", "WRITE")
    result = run(made[0], copy)
    assert [count.accepted for count in result.counts] == [3, 3]
    assert "its hash is another" in caplog.text


@pytest.mark.parametrize("changes", [
    {"accepted": 4}, {"target": 4}, {"label": "forest"}, {"accepted": 2}, {"attempted": 2},
], ids=str)
def test_counts_that_fit_neither_recipe_nor_data_are_not_believed(made, copy, changes):
    counts = json.loads((copy / "finished.json").read_text())["counts"]
    resealed(copy / "finished.json", {"counts": [counts[0] | changes, counts[1]]})
    assert [count.accepted for count in run(made[0], copy).counts] == [3, 3]
    assert list(verify(copy)) == []


def test_a_clock_that_went_back_hides_no_change(made, copy):
    """The note is newer than anything that happens after it, as where a wrong clock was put right."""
    run(made[0], copy)
    note = (copy / "finished.json").stat()
    shard = copy / "data" / "train-00000.parquet"
    changed = shard.read_bytes()[:-4] + b"PAR2"
    shard.write_bytes(changed)
    import terrasynth.synthesis.ledger.finished

    real = terrasynth.synthesis.ledger.finished.Path.stat

    class Later:
        def __init__(self, stat):
            self._stat = stat

        def __getattr__(self, name):
            return getattr(self._stat, name) + (10**15 if name == "st_ctime_ns" else 0)

    def stat(path, **options):
        found = real(path, **options)
        return Later(found) if path.name == "finished.json" else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terrasynth.synthesis.ledger.finished.Path, "stat", stat)
        seen = terrasynth.synthesis.ledger.finished.Path(copy / "finished.json").stat()
        assert seen.st_ctime_ns > note.st_ctime_ns + 10**14
        run(made[0], copy)
    assert shard.read_bytes() != changed
    assert list(verify(copy)) == []


def test_a_run_of_an_earlier_version_is_read_grown_and_mended(made, copy, caplog):
    recipe, data = made[0], fingerprint(copy / "data")
    as_of_an_earlier_version(copy)
    assert list(verify(copy)) == []
    assert Runtime.read(copy).exact is False
    assert run(recipe, copy).drawn == 0
    assert fingerprint(copy / "data") == data
    assert caplog.text == ""
    grown = Recipe.parse(recipe.tree() | {"target": {"per_class": 5, "max_attempts": 8}})
    assert run(grown, copy).accepted == 10
    assert "processor: not recorded" in caplog.text
    assert list(verify(copy)) == []
    assert [row["id"] for row in rows(copy)][:6] == [row["id"] for row in rows(made[1])]
    (copy / "blocks" / "beach" / "00000.parquet").unlink()
    run(grown, copy)
    assert list(verify(copy)) == []
