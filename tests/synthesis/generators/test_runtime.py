"""Ways of computing that a recipe may ask for: had, or refused in one line before the first picture."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.compiling import compile_checked
from terrasynth.synthesis.generators.finding import open_generator
from terrasynth.synthesis.generators.runtime import ARITHMETIC, Runtime, first_micro_batch
from terrasynth.synthesis.recipe import RuntimeSettings
from tests.synthesis.helpers import as_of_an_earlier_version, fingerprint
from tests.tiny_pipelines import PIPELINES

CPU = RuntimeSettings(device="cpu", dtype="float32")
BATCHES = RuntimeSettings(device="cpu", dtype="float32", exact=False, micro_batch=16)
TEXTS, SEEDS = ["a river and a bridge", "sparse forest", "two white tanks"], [1, 2, 3]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("runtime.attention=xformers", "runtime.attention 'xformers' cannot be had: images are drawn on 'cpu'"),
        ("runtime.offload=model", "runtime.offload 'model' cannot be had: images are drawn on the CPU"),
        ("runtime.attention=flash", "runtime.attention 'flash' is wrong"),
        ("runtime.compile=yes please", "runtime.compile 'yes please' is wrong"),
    ],
)
def test_what_cannot_be_had_is_one_line(terrasynth, recipe_file, tmp_path, setting, message):
    code, out, lines = terrasynth("run", recipe_file, "--out", tmp_path / "run", "--set", setting)
    assert (code, out, len(lines)) == (2, "", 1)
    assert message in lines[0]
    assert not (tmp_path / "run").exists()


def test_xformers_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed \(.*'\.\[gpu\]'\); or set it to auto"):
        Runtime.resolve(CPU.model_copy(update={"attention": "xformers"}))


@pytest.mark.parametrize("attention", ["auto", "sdpa"])
def test_attention_of_torch_is_what_auto_takes(models, attention):
    settings = CPU.model_copy(update={"attention": attention})
    assert Runtime.resolve(settings).attention == "sdpa"


def test_a_run_keeps_the_way_of_computing_that_it_began_with(tree, tmp_path):
    """A record of an earlier version says less, and the run goes on as it began."""
    recipe = Recipe.parse(tree)
    run(recipe, tmp_path / "run")
    path = tmp_path / "run" / "runtime.json"
    recorded = json.loads(path.read_text())
    assert recorded["arithmetic"] == ARITHMETIC
    as_of_an_earlier_version(tmp_path / "run")
    old = {key: recorded[key] for key in ("device", "dtype", "micro_batch", "threads", "torch")}
    path.write_text(json.dumps(old | {"measured": {}}))
    assert Runtime.load(tmp_path / "run").arithmetic == 1
    assert run(recipe, tmp_path / "run").drawn == 0
    assert json.loads(path.read_text()) == old | {"measured": {}}, "nothing was drawn"
    grown = Recipe.parse(tree | {"target": {"per_class": 8, "max_attempts": 24}})
    assert run(grown, tmp_path / "run").drawn > 0
    assert json.loads(path.read_text())["arithmetic"] == 1


@pytest.mark.parametrize(
    ("device", "tokens", "side", "expected"),
    [("cpu", False, 16, 16), ("cpu", False, 64, 8), ("cpu", False, None, 8), ("cuda", False, 128, 16),
     ("cpu", True, None, 32)],
)
def test_first_micro_batch(device, tokens, side, expected):
    assert first_micro_batch(device, tokens, side) == expected


class OutOfMemoryUntil:
    """A real pipeline on a device that holds a batch only when latents are decoded one by one."""

    def __init__(self, pipeline):
        self.pipeline, self.batches = pipeline, []

    def __getattr__(self, name):
        return getattr(self.pipeline, name)

    def __call__(self, prompt, **options):
        self.batches.append(len(prompt))
        if not self.pipeline.vae.use_slicing:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.pipeline(prompt=prompt, **options)


def test_latents_are_decoded_one_by_one_before_the_batch_falls(models):
    source = load_generator(str(models.generator), steps=2, device="cpu", dtype="float32").source
    generator = open_generator(source, Runtime.resolve(BATCHES))
    whole = generator.generate(TEXTS, SEEDS)
    generator.pipeline = OutOfMemoryUntil(generator.pipeline)
    sliced = generator.generate(TEXTS, SEEDS)
    assert np.abs(sliced.astype(int) - whole).max() <= 1
    assert (generator.pipeline.batches, generator.vae_slicing, generator.micro_batch) == ([3, 3], True, 16)
    recorded = replace(Runtime.resolve(BATCHES), vae_slicing=True, micro_batch=16)
    again = open_generator(generator.source, Runtime.resolve(CPU, recorded))
    assert again.pipeline.vae.use_slicing
    assert np.array_equal(again.generate(TEXTS, SEEDS), sliced)


def test_a_run_notes_that_latents_are_decoded_one_by_one(tree, tmp_path, monkeypatch):
    import terrasynth.synthesis.execution.block_maker

    class Short(terrasynth.synthesis.execution.block_maker.BlockMaker):
        def draw(self, label, index, **others):
            if not isinstance(self.generator.pipeline, OutOfMemoryUntil):
                self.generator.pipeline = OutOfMemoryUntil(self.generator.pipeline)
            return super().draw(label, index, **others)

    tree["runtime"]["exact"] = False
    recipe = Recipe.parse(tree)
    with monkeypatch.context() as patch:
        patch.setattr("terrasynth.synthesis.execution.job.BlockMaker", Short)
        run(recipe, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "runtime.json").read_text())["vae_slicing"] is True
    before = fingerprint(tmp_path / "run" / "blocks")
    next((tmp_path / "run" / "blocks").rglob("*.parquet")).unlink()
    run(recipe, tmp_path / "run")
    assert fingerprint(tmp_path / "run" / "blocks") == before


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, numbers, more):
        return (torch.tanh(self.layer(numbers)) + more,)


def backend(change):
    """A compiler that computes as the network does, and then something else."""
    return lambda graph, _: lambda *inputs: change(graph(*inputs))


def compiled(change, dtype="float32"):
    torch.manual_seed(0)
    network = Network().eval()
    numbers = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    before = network(numbers, more=numbers)[0]
    with torch.no_grad():
        compile_checked(network, lambda: network(numbers, more=numbers), dtype, backend(change))
        return before, network(numbers, more=numbers)[0]


def test_a_compiled_network_that_says_the_same_is_used():
    calls = []

    def counted(outputs):
        calls.append(1)
        return outputs

    before, after = compiled(counted)
    assert torch.allclose(before, after)
    assert calls


def test_a_compiled_network_that_says_something_else_is_refused():
    with pytest.raises(InputError, match=r"runtime\.compile true would draw other images: .* is off by 0\.5 of"):
        compiled(lambda outputs: tuple(0.5 * each for each in outputs))
    with pytest.raises(InputError, match="is off by nan of"):
        compiled(lambda outputs: tuple(float("nan") * each for each in outputs))


def test_a_compiler_that_fails_is_named():
    def broken(outputs):
        raise OSError("no C++ compiler")

    with pytest.raises(InputError, match=r"does not compile here \(.*no C\+\+ compiler.*\); set it to false"):
        compiled(broken)


@pytest.mark.parametrize("kind", sorted(PIPELINES))
def test_the_network_of_every_kind_goes_through_the_compiler(tmp_path, monkeypatch, kind):
    """Traced by torch, and computed as traced: what the compiler itself adds takes minutes."""
    folder = PIPELINES[kind](tmp_path / kind)
    plain = load_generator(str(folder), steps=2, device="cpu", dtype="float32")
    monkeypatch.setattr(
        "terrasynth.synthesis.generators.diffusion.compile_checked",
        lambda network, draw, dtype: compile_checked(network, draw, dtype, "eager"),
    )
    runtime = Runtime.resolve(CPU.model_copy(update={"compile": True, "micro_batch": 3}))
    generator = open_generator(plain.source, runtime)
    assert np.abs(generator.generate(TEXTS, SEEDS).astype(int) - plain.generate(TEXTS, SEEDS)).max() <= 1


def test_what_has_no_network_to_compile_is_refused(models):
    generator = load_generator(str(models.token_generator), device="cpu", dtype="float32")
    with pytest.raises(InputError, match="is a Txt2ImgMHNPipeline, of which nothing is compiled here"):
        open_generator(generator.source, Runtime.resolve(CPU.model_copy(update={"compile": True})))


def test_a_record_is_what_was_saved(tmp_path):
    runtime = Runtime.resolve(CPU)
    runtime.save(tmp_path)
    assert asdict(Runtime.load(tmp_path)) == asdict(runtime)


def test_recorded_portions_are_kept_where_drawing_is_not_exact():
    recorded = replace(Runtime.resolve(CPU.model_copy(update={"exact": False})), threads=3, micro_batch=5)
    again = Runtime.resolve(CPU, recorded)
    assert (again.threads, again.micro_batch, again.exact) == (3, 5, False)
    assert Runtime.resolve(CPU.model_copy(update={"micro_batch": 2}), recorded).micro_batch == 2
