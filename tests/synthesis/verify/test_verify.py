"""Every fault planted in a copy of a small run is named, and mended bit by bit."""

import fcntl
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.ledger.blocks import WRITTEN
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.repair import set_aside
from terrasynth.synthesis.verify.verifying import Verification, verify
from tests.synthesis.helpers import fingerprint
from tests.tiny import tiny_clip
from tests.tiny_sd import tiny_sd

MADE = ("blocks/", "scores/", "data/", "decisions.parquet")
BLOCK, NEXT, SHARD = "blocks/beach/00000.parquet", "blocks/beach/00001.parquet", "data/train-00000.parquet"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    return Recipe.parse({
        "name": "small", "generator": {"model": str(tiny_sd(root / "sd")), "steps": 1, "guidance": 1.0},
        "prompts": {"expander": "grammar", "classes": ["beach", "river"]},
        "filters": [{"kind": "alignment", "encoder": str(tiny_clip(root / "clip")), "min_score": -1.0},
                    {"kind": "duplicate", "max_similarity": 1.0}],
        "target": {"per_class": 6, "max_attempts": 24}, "output": {"rows_per_shard": 5},
        "runtime": {"block_size": 4, "device": "cpu", "dtype": "float32", "micro_batch": 4},
    })


@pytest.fixture(scope="module")
def kept(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "run"
    run(small, out)
    return out


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "run")


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def flip_in_a_picture(path):
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 200] ^= 1
    path.write_bytes(data)


def flip_in_the_footer(path):
    """In the number of bytes of a row group, which no reader looks at and no checksum covers."""
    data, group = bytearray(path.read_bytes()), pq.read_metadata(path).row_group(0).total_byte_size
    coded = _varint(group << 1)
    at = data.rindex(coded)
    data[at] ^= 2
    path.write_bytes(data)


def _varint(number):
    parts = []
    while True:
        number, low = number >> 7, number & 127
        parts.append(low | (128 if number else 0))
        if not number:
            return bytes(parts)


def swap(path):
    path.write_bytes(path.with_name("00001.parquet").read_bytes())


def spoil_a_picture(path):
    table = pq.ParquetFile(path).read()
    images = [value | {"bytes": b"no picture"} for value in table.column("image").to_pylist()]
    place = table.schema.get_field_index("image")
    spoilt = table.set_column(place, table.schema.field("image"), pa.array(images, table.schema.field("image").type))
    pq.write_table(spoilt, path, **WRITTEN)


def change_a_seed(path):
    """A block that is whole in itself, and says another seed of one attempt."""
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index("seed")
    seeds = [value + (row == 1) for row, value in enumerate(table.column("seed").to_pylist())]
    changed = table.set_column(place, table.schema.field("seed"), pa.array(seeds, table.schema.field("seed").type))
    pq.write_table(changed.replace_schema_metadata(pq.read_schema(path).metadata), path, **WRITTEN)


def change_a_caption(path):
    table = pq.read_table(path, partitioning=None)
    texts = ["another text", *table.column("text").to_pylist()[1:]]
    changed = table.set_column(table.schema.get_field_index("text"), table.schema.field("text"), pa.array(texts))
    pq.write_table(changed, path)


def accept_a_rejected(path):
    rows = pq.read_table(path).to_pylist()
    schema = pq.read_schema(path)
    last = next(row for row in reversed(rows) if not row["accepted"])
    last |= {"accepted": True, "reason": None}
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def say_less(path):
    path.write_text(path.read_text().replace("num_examples: 12", "num_examples: 11"))


def deny_one(path):
    path.write_text(path.read_text().replace('"accepted": 6', '"accepted": 5'))


FAULTS = [
    (cut, BLOCK, "cannot be read", "draw"),
    (empty, BLOCK, "cannot be read", "draw"),
    (flip_in_a_picture, BLOCK, "cannot be read", "draw"),
    (flip_in_the_footer, BLOCK, "is not what its content gives", "draw"),
    (swap, BLOCK, "holds other attempts than its place", "draw"),
    (change_a_seed, BLOCK, "column 'seed'", "draw"),
    (spoil_a_picture, BLOCK, "the image of attempt 0 is no png", "draw"),
    (lambda path: path.unlink(), BLOCK, "missing", "draw"),
    (lambda path: path.unlink(), NEXT, "missing", "draw"),
    (cut, "scores/*/beach/00000.parquet", "cannot be read", "measure"),
    (swap, "scores/*/beach/00000.parquet", "holds scores of other attempts", "measure"),
    (cut, "decisions.parquet", "cannot be read", "write"),
    (accept_a_rejected, "decisions.parquet", "more accepted attempts than the recipe's 6", "write"),
    (lambda path: path.unlink(), "decisions.parquet", "missing", "write"),
    (cut, SHARD, "cannot be read", "write"),
    (flip_in_a_picture, SHARD, "cannot be read", "write"),
    (change_a_caption, SHARD, "row 0 is not what its block and decisions.parquet say: text", "write"),
    (lambda path: path.unlink(), SHARD, "missing", "write"),
    (lambda path: path.unlink(), "README.md", "missing", "write"),
    (empty, "README.md", "its header cannot be read", "write"),
    (say_less, "README.md", "speaks of 11 rows where 12 were accepted", "write"),
    (cut, "report/index.html", "ends in the middle", "write"),
    (deny_one, "report/report.json", "says that 5 of 'beach' were accepted where 6 were", "write"),
    (cut, "report/one-of-each.png", "is no image", "write"),
    (cut, "report/images-beach-00000.jpg", "is no image", "write"),
    (lambda path: path.unlink(), "report/images-river-00000.jpg", "missing", "write"),
    (empty, "identity.json", "cannot be trusted", "write"),
    (empty, "runtime.json", "cannot be believed", "write"),
    (lambda path: path.unlink(), "runtime.json", "missing", "write"),
    (empty, "recipe.yaml", "cannot be read", "user"),
    (empty, "finished.json", "cannot be believed", "write"),
]


def test_a_whole_run_has_no_fault(kept):
    looked = Verification()
    assert list(verify(kept, into=looked)) == []
    assert list(verify(kept, fast=True)) == []
    assert looked.counts == {"blocks": 4, "attempts": 16, "decisions": 16, "files of scores": 4, "shards": 3,
                             "rows": 12, "hashes": 4}


@pytest.mark.parametrize(("plant", "file", "what", "remedy"), FAULTS)
def test_a_fault_is_named(copy, plant, file, what, remedy):
    path = next(copy.glob(file))
    plant(path)
    found = [fault for fault in verify(copy) if copy / fault.file == path]
    assert len(found) == 1
    assert what in found[0].what
    assert found[0].remedy.name.lower() == remedy
    assert "\n" not in found[0].line


def test_what_does_not_belong_is_named(copy):
    (copy / "blocks/beach/notes.txt").write_text("mine")
    (copy / "data/train-7.parquet").write_bytes(b"")
    (copy / "data/train-00007.parquet").write_bytes((copy / SHARD).read_bytes())
    (copy / "scores/half.parquet.tmp").write_bytes(b"half")
    found = {fault.file: fault.remedy.name for fault in verify(copy)}
    assert found == {"blocks/beach/notes.txt": "MOVE", "data/train-7.parquet": "MOVE",
                     "data/train-00007.parquet": "REMOVE", "scores/half.parquet.tmp": "REMOVE"}


def test_what_was_stated_is_the_users_to_give_back(small, copy):
    path = copy / "licence.json"
    path.write_text(path.read_text().replace('"sources"', '"sourcez"'))
    (found,) = verify(copy)
    assert (found.file, found.remedy.name) == ("licence.json", "USER")
    assert "state the licence again" in found.line


def test_hashes_see_what_a_reader_does_not(copy):
    flip_in_the_footer(copy / SHARD)
    assert [(fault.file, fault.what[:25]) for fault in verify(copy)] == [(SHARD, "is not what the run wrote")]
    assert list(verify(copy, fast=True)) == [], "what is fast hashes no file"


def test_a_run_that_was_stopped_is_not_whole_and_goes_on(small, copy):
    shutil.copy(copy / NEXT, copy / "spare")
    for path in (copy / NEXT, next(copy.glob("scores/*/beach/00001.parquet")), copy / "finished.json"):
        path.unlink()
    shutil.rmtree(copy / "data")
    fewer = Recipe.parse(small.tree() | {"target": {"per_class": 4, "max_attempts": 24}})
    run(fewer, copy, shrink=True)
    assert list(verify(copy)) == []
    shutil.move(copy / "spare", copy / NEXT)
    found = [fault for fault in verify(copy) if fault.remedy.name == "RUN"]
    assert [(fault.file, fault.what) for fault in found] == [
        (NEXT, "drawn after decisions.parquet was written, with 0 more of its class")]


def test_everything_at_once_is_mended_bit_by_bit(small, kept, copy):
    flip_in_a_picture(copy / BLOCK)
    (copy / "blocks/river/00001.parquet").unlink()
    cut(next(copy.glob("scores/*/beach/00001.parquet")))
    cut(copy / SHARD)
    empty(copy / "identity.json")
    (copy / "blocks/beach/notes.txt").write_text("mine")
    damaged = (copy / BLOCK).read_bytes()
    moved = set_aside(copy, list(verify(copy)))
    assert sorted(path.relative_to(copy / "damaged").parts[0] for path in moved) == [
        "blocks", "blocks", "data", "identity.json", "scores"]
    assert (copy / "damaged" / BLOCK).read_bytes() == damaged
    assert run(small, copy).drawn == 8
    assert list(verify(copy)) == []
    made, wanted = fingerprint(copy), fingerprint(kept)
    for name in wanted:
        if name.startswith(MADE) or name == "identity.json":
            assert made[name] == wanted[name], name
    flip_in_a_picture(copy / BLOCK)
    assert set_aside(copy, list(verify(copy)))[0].name == "00000.parquet.2"


def test_images_of_the_report_come_back(small, kept, copy):
    wanted = {path.name: path.read_bytes() for path in (kept / "report").iterdir()}
    cut(copy / "report/images-beach-00000.jpg")
    (copy / "report/images-river-00000.jpg").unlink()
    cut(copy / "report/one-of-each.png")
    assert [path.name for path in set_aside(copy, list(verify(copy)))] == ["one-of-each.png", "images-beach-00000.jpg"]
    assert run(small, copy).drawn == 0
    assert {path.name: path.read_bytes() for path in (copy / "report").iterdir()} == wanted
    assert list(verify(copy)) == []


def test_the_command_names_faults_and_repairs(copy, terrasynth):
    assert terrasynth("verify", copy)[:2] == (0, f"{copy} is whole: 4 blocks, 16 attempts, 16 decisions, 4 files of "
                                              "scores, 3 shards, 12 rows, 4 hashes; every image was decoded\n")
    cut(copy / SHARD)
    code, out, errors = terrasynth("verify", copy)
    assert code == 1
    assert out.startswith(f"{SHARD}: cannot be read")
    assert errors == [
        f"terrasynth: error: 1 fault in {str(copy)!r}; `terrasynth verify {copy} --repair` mends 1 of them"]
    code, out, _ = terrasynth("verify", copy, "--json")
    assert code == 1
    assert [fault["file"] for fault in json.loads(out)["faults"]] == [SHARD]
    code, out, _ = terrasynth("verify", copy, "--repair")
    assert code == 0
    assert f"1 file moved to {copy / 'damaged'}, 0 images drawn" in out
    assert "is whole" in out


def test_run_repairs_when_asked(copy, terrasynth):
    flip_in_a_picture(copy / BLOCK)
    code, _, errors = terrasynth("run", copy / "recipe.yaml", "--out", copy)
    assert code == 1
    assert "run again with --repair" in errors[-1]
    code, _, errors = terrasynth("run", copy / "recipe.yaml", "--out", copy, "--repair")
    assert code == 0
    assert any(line.startswith(f"moved to {copy / 'damaged' / BLOCK}") for line in errors)
    assert list(verify(copy)) == []


def test_a_run_that_is_at_work_is_left_alone(copy):
    with (copy / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is in use by another process"):
            list(verify(copy))


def test_two_may_look_at_once(copy):
    first = verify(copy)
    cut(copy / BLOCK)
    next(first)
    assert [fault.file for fault in verify(copy)] == [BLOCK]


def test_no_run_is_named(tmp_path):
    with pytest.raises(InputError, match="so it is no run; give a folder that"):
        list(verify(tmp_path))
