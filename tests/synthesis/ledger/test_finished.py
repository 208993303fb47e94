"""The note of a finished run: what it is a hash of."""

import hashlib

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.ledger.finished import _ledger


def test_the_hash_of_a_ledger_is_that_of_all_its_paths_in_order(finished):
    run = finished
    for name in ("blocks/beach 2/00000.parquet", "scores/0/beach/00000.parquet", "scores/0-1/beach/00000.parquet",
                 "evaluation.json", "evaluation/report.json"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    # As earlier versions made it, whose notes still hold: a path for each file, and all of them sorted.
    named = [run / name for name in (layout.DECISIONS, *layout.EVALUATIONS)]
    paths = [path for folder in ("blocks", "scores") for path in (run / folder).rglob("*") if path.is_file()]
    found = hashlib.sha256()
    for path in sorted([*paths, *named, *layout.shard_files(run)]):
        stat = path.stat()
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        found.update(f"{path.relative_to(run)}\0{stamp}\0".encode())
    sheets = sorted(path for ending in ("jpg", "png") for path in (run / "report").glob(f"images-*.{ending}"))
    assert sheets
    for path in [*layout.report_pictures(run), *sheets]:
        found.update(f"{path.name}\0".encode())
    assert _ledger(run) == found.hexdigest()[:16]
