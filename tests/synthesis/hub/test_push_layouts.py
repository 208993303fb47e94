"""A run whose model was shown layouts, of pairs of before and after: its labels and images travel with it."""

import shutil

import datasets
import numpy as np

from terrasynth.synthesis.cards.licences import Statement
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.hub.pushing import PushSettings, push
from tests.hub_server import published
from tests.synthesis.helpers import rows

REPO = PushSettings("user/pairs", stated=Statement("cc-by-4.0"))


def test_pairs_are_read_back_as_they_were_pushed(hub, pair_run, tmp_path):
    run = shutil.copytree(pair_run, tmp_path / "run")
    done = push(run, REPO)
    files = published(hub, "user/pairs")
    sheets = {f"report/{path.name}" for path in (run / "report").glob("images-*")}
    assert len(sheets) == 4
    assert sheets < set(files)
    assert not [name for name in files if name.startswith("blocks")]
    loaded = list(datasets.load_dataset("user/pairs", split="train", streaming=True, revision=done.commit))
    own = rows(run)
    assert [row["id"] for row in loaded] == [row["id"] for row in own]
    for row, stored in zip(loaded, own, strict=True):
        for name in ("image", "image_after", "mask", "mask_after", "change"):
            shown = np.asarray(row[name].convert("RGB"))
            assert (shown == decode(stored[name]["bytes"])).all()
        for name in ("edit", "changed", "change_captions", "objects", "layout", "text_after"):
            assert row[name] == stored[name]
    assert "`changed`, `change_captions`" in files["README.md"].decode()
    again = push(run, REPO)
    assert (again.commit, again.plan.send, again.plan.remove) == ("", (), ())
