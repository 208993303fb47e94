"""The commands of README and docs/ do what the pages say, on the small data and models of `places.py`.

A page is run from its top to its end in one folder, where all that it names lies: RUN, DATA, ids of the Hub. `SMALLER`
makes small what would take long, `VALUES` stands for what is the reader's, and nothing else is changed. What is in no
list is run, so that a new block has to work.
"""

import argparse
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.places import write_places
from tests.object_store import serving
from tests.synthesis.hub.conftest import hub  # noqa: F401 - a fixture
from tests.test_documented_commands import commands_of, whole_lines

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
ASK_THE_HUB = ("docs/own-classes.md", "docs/publish.md", "docs/review.md")  # of which tests/hub_server.py is one

# Blocks that another test runs, by page and beginning.
ELSEWHERE = {
    "docs/cluster.md": ("tests/synthesis/test_parts.py", "cat > part.sbatch"),
    "README.md": (".ci/readme.py", "make demo", ".venv/bin/python -", "export PATH=", "python -m pip",
                  "terrasynth verify"),
    "docs/own-classes.md": ("tests/training/own_classes/test_page.py", "python - <<", "terrasynth init images",
                            "cat > own/classes.yaml", "terrasynth train judge --data own/data.yaml --out",
                            "terrasynth train judge --data own/data.yaml --encoder",
                            "terrasynth plan own", "terrasynth run own/recipe.yaml --out runs/images --set"),
    "docs/service.md": ("tests/synthesis/service/test_service_page.py", "S=http", "from openai", "ID=$(terrasynth",
                        "pip install -c constraints.txt '.[service,postgres]'"),
}
# Lines that are not run, and why.
NOT_RUN = {
    r"accelerate launch": "needs several GPUs; tests/training/tuning/two_processes_lora.py tunes in two processes",
    r"terrasynth train release": "six hours; tests/training/release/test_presets.py runs `tiny`, its chain made small",
    r"terrasynth review \S+ *(#|$)": "serves until it is interrupted, as does `serve`, of which it is one page",
    r"terrasynth serve": "serves until it is interrupted; tests/synthesis/service/test_service_page.py runs it",
    r"pip install": "needs the network",
    r"hf download": "needs the network",
    r"--encoder models/clip": "reads what that line downloads; tests/synthesis/cli/test_cli_eval.py calibrates",
    r"curl .*/reviews": "asks a service; tests/synthesis/service/test_review_routes.py sends such verdicts",
    r"ray start": "starts a cluster that stays; the run that the page shows next is made with one of its own",
    r"eval layouts": "needs a run with layouts; tests/training/families/test_segmenter.py gives it one",
    r"from trl import": "trains a model of the reader; tests/synthesis/export/test_export_messages.py gives trl one",
    r"TERRASYNTH_LEASE_SECONDS": "is another command's environment; tests/synthesis/test_object_leases.py sets it",
}
BENCHMARK = re.compile(r"python (?:-m tests\.|tests/)benchmarks[./](\w+)(?:\.py)?")  # hours; their options are read
# What a reader puts in the place of a word.
VALUES = {"runtime.address=HOST:6379": "runtime.address=local", "/shared/RUN": "RUN",
          "LICENCE": "cc-by-nc-4.0", "CLASSES": "beach,forest,river", "https://...": "https://a.example",
          "profile=PROFILE": "profile=ucm"}


@dataclass(frozen=True)
class Small:
    """How a command is made small: options after it, and words in the place of others."""

    options: str = ""
    words: dict = field(default_factory=dict)


LOOP = " ".join(f"--set loop.{setting}" for setting in (
    "max_steps=1", "batch_size=2", "accumulate=1", "validate_every=1", "preview_every=1", "mixed_precision=no"))
UNSEEN = "--set model.validation.pictures=0 --set model.validation.choose=loss --set model.validation.encoder=null"
SHORT = ("--set generator={model: GENERATOR, steps: 1}".replace("{", "'{").replace("}", "}'") +
         " --set prompts.classes=[beach,forest] --set filters=[] --set runtime.dtype=float32")
BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SMALLER = {
    r"train (lora|full|distil|control) ": Small(f"{LOOP} {UNSEEN}", {"ldm-ucm": BASE,
                                                                     "model.size=256": "model.size=16"}),
    r"train ldm-": Small(f"{LOOP} --set model.views.size=32 --set model.views.count=1 --set model.channels=[8,8] "
                         "--set model.groups=4 --set model.heads=2 --set model.text_width=16 --set model.text_layers=1 "
                         "--set model.val_images=2 --set model.preview=2 --set model.val_steps=1"),
    r"train autoencoder-distil": Small(f"{LOOP} --set model.channels=8 --set model.crop=16 --set model.margin=0"),
    r"train (autoencoder|vqgan)-decoder": Small(f"{LOOP} --set load_size=32 --set model.size=32 --set model.crop=32"),
    r"train vqgan-ucm": Small(f"{LOOP} --set load_size=40 --set model.size=32 --set model.crop=32 "
                              "--set model.codes=16"),
    r"train latent-vq": Small(f"{LOOP} --set model.views.size=32 --set model.views.count=1 --set model.codes=16 "
                              "--set model.channels=16"),
    r"train mhn-": Small(f"{LOOP} --set load_size=32 --set model.size=32 --set model.width=16 --set model.blocks=1 "
                         "--set model.heads=2 --set model.head_width=8 --set model.prototypes=12 "
                         "--set model.val_pictures=2"),
    r"train segmenter": Small(f"{LOOP} --set model.size=32 --set model.widths=[8,8,8,8] --set model.decoder=8"),
    r"train captioner": Small(f"{LOOP} --set model.encoder=runs/scene --set model.views.size=32 --set model.width=16 "
                              "--set model.heads=2 --set model.hidden=16 --set model.min_count=1"),
    r"train scene-": Small(f"{LOOP} --set load_size=40 --set model.size=32"),
    r"train judge": Small("--encoder MODEL --set load_size=32 --set model.steps=5"),
    r"eval downstream .*--features": Small("--per-class 1 --seeds 2"),
    r"eval downstream .*--targeted": Small("--targeted 3"),
    r"target --model": Small("", {"MODEL": "runs/scene"}),
    r"eval downstream(?!.*--features)": Small("--task scene --fractions 100 --seeds 1 --steps 1 --size 32 "
                                              "--batch-size 4"),
    r"eval protocol mhn": Small("--limit 3 --per-text 1 --steps 0 --set steps=1"),
    r"eval protocol strict GENERATOR": Small("--limit 4 --steps 0 --set steps=1"),
    r"eval protocol strict RUN": Small("--limit 4 --steps 0"),
    r"models inspect": Small("--per-class 1 --prototypes 2 --class beach", {"mhn-ucm": "TOKENS"}),
    r"terrasynth generate .*--count": Small("--steps 1"),
    r"terrasynth generate .*--lora": Small(f"--steps 1 --model {BASE}"),
    r"(plan|run) demo": Small(SHORT),
    r"run demo --out RUN": Small(SHORT, {"RUN": "demo"}),
    r"run own/recipe.yaml": Small(f"{SHORT} --set target.per_class=1"),
    r"expand .*--n 52500": Small("--n 300"),
    r"init --classes": Small("", {"own": "own-names"}),
    r"target.per_class=100": Small("--set target.per_class=4"),
    r"target.per_class=40": Small("--set target.per_class=5"),
    r"target.per_class=10": Small("--set target.per_class=4"),
}
# Of the example in Python, and of `docs/workers.md`, what is another here.
PYTHON = {'Recipe.load("demo")': f'Recipe.load("demo", {shlex.split(SHORT.replace("--set ", ""))})',
          '"harbor", 3': '"river", 3'}
# A paragraph of docs/export.md -> the format that it reads.
READS = {"from datasets import": "imagefolder", "import json, webdataset": "webdataset", "from pycocotools": "coco",
         "images = json.load": "karpathy", "rows = json.load": "llava", "import rasterio": "geotiff"}


def listed(table, text):
    """The entries whose pattern a text has."""
    return [entry for key, entry in table.items() if re.search(key, text)]


def blocks(page):
    """Language and text of each block of a page that can be run."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^```(bash|python)(?: no-ci)?\n(.*?)^```", text, re.M | re.S)


def left(page):
    """Those that no other test runs."""
    beginnings = tuple(ELSEWHERE.get(page, ("",))[1:])
    return [(language, block) for language, block in blocks(page) if not block.startswith(beginnings)]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_places(tmp_path_factory.mktemp("places"))


@pytest.fixture
def here(places, tmp_path, monkeypatch):
    """A folder with all that pages name, of which a page may do anything to what is not a model."""
    folder = tmp_path / "page"
    shutil.copytree(places, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def bucket(here):
    with serving() as store:
        for path in (here / "DATA").rglob("*"):
            if path.is_file():
                store.overwrite(f"data/{path.relative_to(here / 'DATA').as_posix()}", path.read_bytes())
        yield


@pytest.mark.parametrize("page", [page for page in PAGES if left(page)])
def test_a_page_does_what_it_says(page, here, terrasynth, python, request):
    if page in ASK_THE_HUB:
        request.getfixturevalue("hub")
    if page == "docs/object-storage.md":
        request.getfixturevalue("bucket")
    if page == "docs/own-classes.md":  # made by blocks that the other test runs
        run_line("terrasynth train judge --data DATA --out own/judge-2", terrasynth, python)
    found = left(page)
    if page == "docs/review.md":  # of which the commands begin when somebody has reviewed
        found.sort(key=lambda each: each[0] != "python")
    for language, block in found:
        if language == "bash":
            for line in whole_lines(block.replace("\\\n", " ")):
                if line.strip() and not listed(NOT_RUN, line):
                    run_line(line, terrasynth, python)
        elif page == "docs/export.md":
            read_exports(block, terrasynth)
        else:
            run_python(block, run=Path("RUN"))


def test_a_review_gives_the_figure_that_the_page_prints(here, capsys):
    text, = (block for language, block in blocks("docs/review.md") if language == "python")
    run_python(text)
    assert capsys.readouterr().out.strip() == re.search(r"^print\(.*# (.*)$", text, re.M)[1]


def run_line(line, terrasynth, python):
    if script := BENCHMARK.match(line):
        read_options(script[1], shlex.split(line[script.end():], comments=True))
    elif line.startswith("terrasynth") and "&&" not in line and ">" not in shlex.split(line, comments=True):
        (arguments,) = commands_of(line)
        for small in listed(SMALLER, line):
            arguments = [small.words.get(each, each) for each in arguments] + shlex.split(small.options)
        arguments = [VALUES.get(each, each) for each in arguments]
        for option in ("--out", "--report"):  # each line is a way of its own
            if option in arguments and ("FOLDER" in arguments or "train" in arguments):
                shutil.rmtree(arguments[arguments.index(option) + 1], ignore_errors=True)
        code, out, errors = terrasynth(*arguments)
        assert code == 0, f"{shlex.join(arguments)}\n{out[-500:]}\n{errors[-5:]}"
    else:
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        with python.listening() as forks:
            script = f'terrasynth() {{ {forks} -m terrasynth "$@"; }}\n{line}'
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True,
                                  check=False, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stderr[-500:]}"


class Read(BaseException):
    """A script has read its options."""


def read_options(name, arguments):
    """Start a benchmark, up to where it has read its options."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *given):
        parse(self, *given)
        raise Read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(Read):
            runpy.run_path(str(ROOT / "tests" / "benchmarks" / f"{name}.py"), run_name="__main__")


def run_python(text, **names):
    for word, other in PYTHON.items():
        text = text.replace(word, other)
    exec(compile(text, "a page", "exec"), names)
    return names


def read_exports(block, terrasynth):
    """Each paragraph, on an export in the format that it reads."""
    for paragraph in re.split(r"\n\n|\n(?=rows = json)", block):
        if listed(NOT_RUN, paragraph):
            continue
        kind, = listed(READS, paragraph)
        shutil.rmtree("FOLDER", ignore_errors=True)
        assert terrasynth("export", "RUN", "--format", kind, "--out", "FOLDER")[0] == 0
        if kind == "geotiff":
            paragraph = paragraph.replace("ID.tif", next(Path("FOLDER/train").glob("*.tif")).name)
        if kind == "karpathy":
            paragraph = paragraph.replace("dataset_NAME.json", next(Path("FOLDER").glob("dataset_*.json")).name)
        names = run_python(paragraph, json=json)
        if kind == "webdataset":
            assert {"jpg", "png"} & set(next(iter(names["rows"])))
        elif kind == "geotiff":
            assert (names["pixels"].shape, names["tags"]["SYNTHETIC"]) == ((3, 32, 32), "YES")
        else:
            read = names.get("captions", names.get("images", names.get("rows")))
            assert len(read.imgs if kind == "coco" else read) == 12


@pytest.mark.parametrize("page", [page for page in PAGES if "/" in page and "notes" not in page])
def test_a_page_begins_with_its_task_and_the_commands_for_it(page):
    before = re.split(r"^## ", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE)[0]
    title, task, *_ = before.split("\n\n")
    assert title.startswith("# ")
    assert re.match(r"[A-Z`]", task)
    assert page == "docs/README.md" or re.search(r"^```|^\|", before, re.M)


def test_no_list_names_what_no_page_has():
    lines = [line for page in PAGES for _, block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    for table in (NOT_RUN, SMALLER, READS):
        assert [key for key in table if not any(re.search(key, line) for line in lines)] == []
    words = {word for line in lines for word in line.split()}
    assert [word for word in VALUES if word not in words] == []
    assert [word for word in PYTHON if not any(word in line for line in lines)] == []
    for page, (test, *beginnings) in ELSEWHERE.items():
        assert (ROOT / test).is_file()
        found = [block for _, block in blocks(page)]
        assert [each for each in beginnings if not any(block.startswith(each) for block in found)] == []
