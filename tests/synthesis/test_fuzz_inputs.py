"""Recipes, prompt files, LoRAs and models with something wrong: exit 0, 1 or 2, one line, nothing left behind.

`TERRASYNTH_FUZZ=2000` tries so many damaged inputs; without it, few enough for every day. A number is a seed: what
fails names it, and `TERRASYNTH_FUZZ_FIRST=417 TERRASYNTH_FUZZ=1` tries that one alone.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import shutil
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from diffusers import DiffusionPipeline

from terrasynth.synthesis.cli import main
from tests.mutations import damage_folder, damaged_text
from tests.synthesis.lora_files import write_lora
from tests.tiny import tiny_clip
from tests.tiny_checker import NONE, tiny_checked
from tests.tiny_mhn import save_tiny_mhn
from tests.tiny_sd import tiny_autoencoder
from tests.watching import watching

COUNT = int(os.environ.get("TERRASYNTH_FUZZ", "48"))
FIRST = int(os.environ.get("TERRASYNTH_FUZZ_FIRST", "0"))
LONGEST = 120  # seconds of one command
MORE_MEMORY = 6 << 30  # bytes of addresses beyond those that the process has: a size in a file may ask for any
KINDS = ("recipe", "prompts", "lora", "model", "vae")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Inputs with nothing wrong with them."""
    root = tmp_path_factory.mktemp("real")
    model = tiny_checked(root / "models" / "sd", NONE)
    save_tiny_mhn(root / "models" / "mhn", text_length=77)
    tiny_clip(root / "clip")
    pipeline = DiffusionPipeline.from_pretrained(model)
    write_lora(pipeline, root / "loras" / "kohya" / "mine.safetensors", ("unet", "text_encoder"), "kohya", "each")
    write_lora(pipeline, root / "loras" / "diffusers" / "pytorch_lora_weights.safetensors", ("unet",), "diffusers")
    (root / "loras" / "diffusers" / "terrasynth.json").write_text('{"template": "{caption} gsd {gsd} m", "gsd": 0.3}')
    (root / "loras" / "diffusers" / "README.md").write_text("---\nbase_model: owner/base\n---\n\n# LoRA\n")
    _peft(pipeline, root / "loras" / "peft")
    pipeline.vae.save_pretrained(root / "vaes" / "kl")
    tiny_autoencoder(root / "vaes" / "tiny", blocks=int(math.log2(pipeline.vae_scale_factor)) + 1)
    _prompt_files(root / "prompts")
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe(model) | {
        "filters": [
            {"kind": "alignment", "encoder": str(root / "clip"), "min_score": -1.0},
            {"kind": "duplicate", "max_similarity": 0.999},
            {"kind": "quality", "measure": "sharpness", "min_score": 0.0},
        ],
        "output": {"image_format": "png", "rows_per_shard": 100},
    }))
    return root


def recipe(model):
    return {
        "name": "fuzz", "seed": 3, "generator": {"model": str(model), "steps": 1, "guidance": 2.0},
        "prompts": {"expander": "grammar", "classes": ["harbor"]},
        "target": {"per_class": 1, "max_attempts": 2},
        "runtime": {"block_size": 1, "micro_batch": 1, "device": "cpu", "dtype": "float32"},
    }


def _peft(pipeline, folder):
    from peft import LoraConfig, get_peft_model

    get_peft_model(pipeline.unet, LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False)
                   ).save_pretrained(folder)
    get_peft_model(pipeline.text_encoder, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
                   ).save_pretrained(folder / "text_encoder")


def _prompt_files(folder):
    from terrasynth.prompts import load_expander

    written = load_expander("grammar").expand("harbor", 1, 0, 4)
    folder.mkdir()
    rows = [{"label": each.label, "text": each.text, "captions": list(each.captions), "scene": json.loads(each.scene)}
            for each in written]
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "b.csv").write_text("label,text\n" + "".join(f'{each.label},"{each.text}"\n' for each in written))
    (folder / "c.txt").write_text("".join(f"{each.label}\t{each.text}\n" for each in written))
    (folder / "d.tsv").write_text("".join(f"{each.label}\t{each.text}\n" for each in written))


def inputs(real, kind):
    """Those of a kind, before they are damaged."""
    if kind == "recipe":
        return [real / "recipe.yaml"]
    return sorted(each for each in (real / f"{kind.removesuffix('s')}s").iterdir() if not each.name.endswith("-plain"))


def command(real, work, kind, source, draw):
    """Copy an input and damage it, unless `draw` is None; gives what to call, and what was done."""
    copy, out, said = work / "in" / source.name, work / "out", "as it is"
    if source.is_dir():
        shutil.copytree(source, copy)
        said = said if draw is None else damage_folder(copy, draw)
    else:
        content = source.read_bytes()
        copy.write_bytes(content if draw is None else damaged_text(content, source.suffix.lstrip("."), draw))
    if kind == "prompts":
        options = ("--expander", "file", "--option", f"path={copy}", "--per-class", 2)
        return ("expand", *options, "--out", out / "texts.jsonl"), source.name
    if kind == "recipe":
        return ("run" if draw is None else draw.choice(("plan", "run")), copy, "--out", out), source.name
    settings = recipe(real / "models" / "sd")
    settings["generator"] |= {kind: str(copy)}
    (work / "in" / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return ("run", work / "in" / "recipe.yaml", "--out", out), f"{source.name}: {said}"


def contents(folder):
    return {path: (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in sorted(folder.rglob("*"))}


class _TooLong(BaseException):
    pass


def _ring(*_):
    raise _TooLong


def faults(code, lines, out, places, work):
    """What was not as it has to be."""
    errors = [line for line in lines if line.startswith(("terrasynth: error:", "Usage:", "Error:"))]
    if code not in (0, 1, 2):
        yield f"exit code {code}"
    if (code == 0) == bool(errors) or len(errors) > 1 or (code and not lines[-1].startswith("terrasynth: error:")):
        yield f"exit {code} with {len(errors)} lines of error"
    if any("Traceback" in line or "Error: " in line for line in lines if line not in errors):
        yield "a traceback"
    if errors and "please report it" in errors[0]:
        yield "nobody foresaw it"
    if any(not line.isprintable() for line in lines):
        yield "what a terminal would obey"
    half = [path for path in out.rglob("*") if path.suffix == ".tmp"] if out.is_dir() else []
    if half:
        yield f"half-written {half[0].name}"
    for path in out.rglob("*.parquet") if out.is_dir() else ():
        pq.read_metadata(path)
    allowed = (out, work / "home")
    outside = [place for place in places if not any(Path(place).is_relative_to(each) for each in allowed)]
    if outside:
        yield f"wrote {outside[0]}"


@pytest.fixture
def confined(tmp_path, monkeypatch):
    """Home, caches and temporary files are in a folder of the test's; memory has a bound."""
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    for name, place in {"HOME": home, "XDG_CACHE_HOME": home / "cache", "XDG_STATE_HOME": home / "state",
                        "TMPDIR": home / "tmp", "HF_HOME": home / "hf"}.items():
        monkeypatch.setenv(name, str(place))
    monkeypatch.setattr("tempfile.tempdir", str(home / "tmp"))
    monkeypatch.chdir(home)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, before[1]))
    earlier = signal.signal(signal.SIGALRM, _ring)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_with_nothing_wrong_is_taken(real, confined, terrasynth, kind):
    for number, source in enumerate(inputs(real, kind)):
        work = confined / str(number)
        (work / "in").mkdir(parents=True)
        code, _, lines = terrasynth(*command(real, work, kind, source, None)[0])
        assert code == 0, f"{source.name}: {lines}"
        assert any((work / "out").rglob("*.jsonl" if kind == "prompts" else "*.parquet"))


def test_a_damaged_input_is_one_line(real, confined, capsys, monkeypatch):
    wrong, ended = [], dict.fromkeys((0, 1, 2), 0)
    before = contents(real)
    for number in range(FIRST, FIRST + COUNT):
        kind = KINDS[number % len(KINDS)]
        work = confined / "one"
        shutil.rmtree(work, ignore_errors=True)
        (work / "in").mkdir(parents=True)
        draw = random.Random(number)
        arguments, said = command(real, work, kind, draw.choice(inputs(real, kind)), draw)
        given = contents(work / "in")
        with watching() as places:
            signal.alarm(LONGEST)
            try:
                with pytest.raises(SystemExit) as end:
                    main([str(each) for each in arguments])
                code = end.value.code
            except _TooLong:
                code = "none in time"
            finally:
                signal.alarm(0)
        lines = capsys.readouterr().err.splitlines()
        found = list(faults(code, lines, work / "out", [p for p in places if not p.startswith(str(confined / "home"))],
                            work))
        if contents(work / "in") != given:
            found.append("changed its input")
        if found:
            wrong.append(f"{number} {kind} ({said}): {'; '.join(found)}: {lines[-1:]}")
        else:
            ended[code] += 1
    assert contents(real) == before
    print(f"{sum(ended.values())} of {COUNT}: exit codes {ended}")
    assert not wrong, "\n".join(wrong)
    assert COUNT < 24 or min(ended[0], ended[2]) > 0
