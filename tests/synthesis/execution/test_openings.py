"""A block that a process has drawn is opened four times before the run ends, however many filters measure it."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from terrasynth import Recipe, RunDirectory, run

READERS = ("ParquetFile", "read_schema", "read_metadata", "read_table")


@pytest.fixture
def opened(monkeypatch):
    """How often each file under blocks/ was opened for reading."""
    found = Counter()

    def counting(function):
        def count(path, *arguments, **options):
            if "blocks" in Path(str(path)).parts:
                found[Path(str(path)).relative_to(Path(str(path)).parents[1]).as_posix()] += 1
            return function(path, *arguments, **options)

        return count

    for name in READERS:
        monkeypatch.setattr(pq, name, counting(getattr(pq, name)))
    monkeypatch.setattr(pa, "OSFile", counting(pa.OSFile))
    return found


def test_a_drawn_block_is_opened_for_shard_and_report_alone(tree, tmp_path, opened):
    tree["filters"] = [{"kind": "duplicate", "max_similarity": 1.0},
                       *(each for each in tree["filters"] if each["kind"] == "alignment")]
    recipe = Recipe.parse(tree)
    assert len({each.source for each in recipe.filters}) > 1  # one measures before it is written, one after
    run(recipe, tmp_path / "run")
    made = RunDirectory(tmp_path / "run")
    assert set(opened) == {f"{path.parent.name}/{path.name}" for path in (made.root / "blocks").glob("*/*.parquet")}
    assert set(opened.values()) <= {3, 4}  # texts, examples, all images of the report; and the shard, if it has rows
