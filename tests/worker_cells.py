"""A generator of colored cells, and accidents of workers that draw with it; stands in for a network, for its time.

Accidents are files in the folder that `TERRASYNTH_ACCIDENTS` names. A worker that draws takes one of `kill-*` or
`hang-*` and has that accident, so that there are as many as files; `always` holds a word, and whoever draws a text with
it dies; `slow` holds the most seconds that a block takes at random; whoever takes `steps` waits until a step is told
of. The process that holds the run has none of them.
"""

import os
import random
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from terrasynth.synthesis.execution import pace
from terrasynth.synthesis.generators.base import Drawn, GeneratorSource
from terrasynth.synthesis.generators.steps import Steps
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import fingerprint

SIZE = 32
PLACE = "TERRASYNTH_ACCIDENTS"
CLASSES = ["beach", "forest", "river"]


class WorkerCells:
    """`generator: {model: worker-cells}`."""

    def find(self, settings):
        return GeneratorSource("worker-cells", "1", Path(__file__).parent, "Cells", 1, 0.0, "auto", SIZE, SIZE)

    def open(self, source, runtime):
        return Cells(source)


class Cells:
    token_limit = None
    size = (SIZE, SIZE)
    micro_batch, vae_slicing = 4, False
    on_step = None

    def __init__(self, source):
        self.source = source

    def identity(self):
        return self.source.identity()

    def count_tokens(self, text):
        return len(text.split())

    def draw(self, prompts, seeds):
        return Drawn(self.generate(prompts, seeds))

    def generate(self, prompts, seeds):
        if _is_worker():
            _have_accidents(prompts)
            self._tell_of_a_step()
        images = []
        for seed in seeds:
            chance = np.random.default_rng(seed)
            cells = chance.integers(0, 256, (4, 4, 3)).astype(float)
            cells = cells.mean(-1, keepdims=True) + chance.uniform() * (cells - cells.mean(-1, keepdims=True))
            images.append(cells.round().astype(np.uint8).repeat(SIZE // 4, 0).repeat(SIZE // 4, 1))
        return np.stack(images)

    def _tell_of_a_step(self):
        if self.on_step and _take(Path(os.environ.get(PLACE, "nowhere")) / "steps"):
            time.sleep(pace.EVERY)
            self.on_step(Steps(1, 5, 20))


def _take(accident):
    try:
        accident.unlink()
    except FileNotFoundError:  # it is not there, or another worker had it
        return False
    return True


def _is_worker():
    main = sys.modules["__main__"]
    if main.__spec__ is None:
        return Path(getattr(main, "__file__", "") or "").name == "default_worker.py"  # of Ray
    return main.__spec__.name.endswith("execution.worker")


def _have_accidents(prompts):
    place = Path(os.environ.get(PLACE, "nowhere"))
    if (place / "slow").is_file():
        time.sleep(random.uniform(0, float((place / "slow").read_text())))
    if (place / "always").is_file() and any((place / "always").read_text() in text for text in prompts):
        os.kill(os.getpid(), signal.SIGKILL)
    for accident in sorted(place.glob("*-*")):
        if not _take(accident):
            continue
        if accident.name.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(3600)


def tree(**runtime):
    """A recipe of which about half of the attempts are accepted, by a measure in the blocks and one beside them."""
    return {
        "name": "workers", "generator": {"model": "worker-cells"},
        "prompts": {"expander": "grammar", "classes": CLASSES},
        "filters": [{"kind": "quality", "measure": "colour", "min_score": 35},
                    {"kind": "duplicate", "max_similarity": 0.999}],
        "target": {"per_class": 9, "max_attempts": 60}, "output": {"rows_per_shard": 8},
        "runtime": {"block_size": 3, "device": "cpu", "dtype": "float32"} | runtime,
    }


def install(folder, group="generators", name="worker-cells", value="tests.worker_cells:WorkerCells"):
    """A folder for `sys.path` in which a package offers a plug-in; returns it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[terrasynth.{group}]\n{name} = {value}\n")
    return folder


@contextmanager
def cells_installed(folder):
    """This process and its workers know `worker-cells`; yields the folder of accidents."""
    (folder / "accidents").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(install(folder / "site")))
        patch.setenv(PLACE, str(folder / "accidents"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield folder / "accidents"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for a module whose runs draw with `worker-cells`."""
    folder = tmp_path_factory.mktemp("cells")
    with cells_installed(folder):
        yield folder


@pytest.fixture(scope="module")
def whole(place):
    """What one process makes of the recipe."""
    from terrasynth.synthesis import Recipe, run  # not by workers, which import this file for the generator

    run(Recipe.parse(tree()), place / "whole")
    return place / "whole"


@pytest.fixture
def accidents(place):
    """The folder of accidents, of which a test leaves none."""
    folder = place / "accidents"
    yield folder
    for left in folder.iterdir():
        left.unlink()


def workers_of(folder):
    """Process ids of the workers of a run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended
            continue
        if "terrasynth.synthesis.execution.worker" in words and str(folder) in words:
            found.append(int(place.parent.name))
    return found


def assert_same(one, other):
    """Two runs hold the same bytes, nothing is left over, and the first is whole."""
    for part in ("data", "blocks", "scores"):
        assert fingerprint(one / part) == fingerprint(other / part), part
    assert (one / "decisions.parquet").read_bytes() == (other / "decisions.parquet").read_bytes()
    assert not list(one.rglob("*.tmp"))
    assert list(verify(one)) == []
