"""Which machine drew is recorded, and another one says so or is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import terrasynth.synthesis.core.machine
import terrasynth.synthesis.execution.runtime_record
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.machine import Machine, computes_bfloat16, this_machine
from terrasynth.synthesis.generators.devices import choose_dtype
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import fingerprint

ROOT = Path(__file__).resolve().parents[3]
HERE = this_machine("cpu")
OTHER = replace(HERE, processor="Another Processor", instructions="AVX512, amx_bf16")


@pytest.fixture
def elsewhere(monkeypatch):
    record = terrasynth.synthesis.execution.runtime_record
    return lambda machine=OTHER: monkeypatch.setattr(record, "this_machine", lambda device: machine)


def bigger(tree):
    return Recipe.parse(tree | {"target": {"per_class": 8, "max_attempts": 24}})


def test_the_machine_is_named():
    assert HERE.processor
    assert HERE.instructions
    assert HERE.torch.startswith("2.")


def test_another_machine_is_said_and_recorded(tree, tmp_path, caplog, elsewhere):
    run(Recipe.parse(tree), tmp_path / "run")
    assert "goes on" not in caplog.text
    elsewhere()
    run(bigger(tree), tmp_path / "run")
    assert f"processor: {HERE.processor} -> Another Processor" in caplog.text
    assert f"instructions: {HERE.instructions} -> AVX512, amx_bf16" in caplog.text
    recorded = Runtime.read(tmp_path / "run")
    assert recorded.machine == OTHER
    assert [Machine(each["processor"], each["instructions"], each["torch"]) for each in recorded.others] == [HERE]
    assert list(verify(tmp_path / "run")) == []
    card = (tmp_path / "run" / "README.md").read_text()
    assert "Another Processor" in card
    assert HERE.processor in card
    caplog.clear()
    run(bigger(tree), tmp_path / "run")
    assert caplog.text == "", "nothing is drawn, so nothing differs"


def test_a_machine_that_only_judges_leaves_the_record_as_it_is(tree, finished, tmp_path, caplog, elsewhere):
    before = (tmp_path / "run" / "runtime.json").read_bytes()
    elsewhere()
    tree["filters"][0]["min_score"] = -1.0
    run(Recipe.parse(tree | {"target": {"per_class": 4, "max_attempts": 24}}), tmp_path / "run")
    assert (tmp_path / "run" / "runtime.json").read_bytes() == before
    assert "goes on" not in caplog.text


def test_an_exact_run_is_refused_on_another_machine(tree, tmp_path, elsewhere):
    tree["runtime"]["exact"] = True
    run(Recipe.parse(tree), tmp_path / "run")
    before = fingerprint(tmp_path / "run" / "blocks")
    elsewhere(replace(HERE, torch="9.9.9"))
    with pytest.raises(InputError, match=r"runtime\.exact is true, and this machine draws otherwise .*-> 9\.9\.9"):
        run(bigger(tree), tmp_path / "run")
    assert fingerprint(tmp_path / "run" / "blocks") == before
    tree["runtime"]["exact"] = "auto"
    assert run(bigger(tree), tmp_path / "run").accepted == 24


def test_another_dtype_within_one_run_is_said_and_recorded(tree, finished, tmp_path, caplog):
    tree["runtime"]["dtype"] = "bfloat16"
    run(bigger(tree), tmp_path / "run")
    assert "dtype: float32 -> bfloat16" in caplog.text
    recorded = Runtime.read(tmp_path / "run")
    assert (recorded.dtype, [each["dtype"] for each in recorded.others]) == ("bfloat16", ["float32"])
    assert list(verify(tmp_path / "run")) == []


def test_a_lost_record_is_written_again_from_the_blocks(tree, finished, tmp_path, elsewhere):
    elsewhere()
    run(bigger(tree), tmp_path / "run")
    kept = {"device", "dtype", "exact", "arithmetic"}
    before = json.loads((tmp_path / "run" / "runtime.json").read_text())
    (tmp_path / "run" / "runtime.json").unlink()
    assert [(fault.file, fault.remedy.name) for fault in verify(tmp_path / "run")] == [("runtime.json", "WRITE")]
    run(bigger(tree), tmp_path / "run")
    assert list(verify(tmp_path / "run")) == []
    after = json.loads((tmp_path / "run" / "runtime.json").read_text())
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert {after["processor"], *(each["processor"] for each in after["others"])} == {
        HERE.processor, OTHER.processor}


@pytest.mark.parametrize(("units", "variables", "expected"), [
    ({}, {}, "float32"), ({"avx512_bf16": True}, {}, "bfloat16"), ({"amx_bf16": True}, {}, "bfloat16"),
    ({"avx512_f": True, "avx512_vnni": True}, {}, "float32"), ({"amx_int8": True}, {}, "float32"),
    ({"amx_bf16": True}, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "float32"),
    ({"amx_bf16": True}, {"DNNL_MAX_CPU_ISA": "avx2"}, "float32"),
    ({"avx512_bf16": True}, {"ATEN_CPU_CAPABILITY": "avx2"}, "float32"),
    ({"avx512_bf16": True}, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "bfloat16"),
])
def test_the_units_of_the_processor_choose_the_dtype(monkeypatch, units, variables, expected):
    monkeypatch.setattr(terrasynth.synthesis.core.machine, "_capabilities", lambda: units)
    for name in terrasynth.synthesis.core.machine.LIMITS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert choose_dtype("cpu") == expected
    assert computes_bfloat16() is (expected == "bfloat16")


def test_no_clock_chooses_the_dtype(monkeypatch):
    import time

    def stop():
        raise AssertionError("nothing is measured")

    for clock in ("perf_counter", "monotonic", "process_time"):
        monkeypatch.setattr(time, clock, stop)
    assert choose_dtype("cpu") in ("float32", "bfloat16")


def test_instructions_that_are_held_back_show_in_a_process_of_its_own():
    """Through the variables by which the libraries themselves are told."""
    code = "from terrasynth.synthesis.core.machine import this_machine; print(this_machine('cpu').instructions)"
    limited = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    found = [
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)} | more, text=True,
                       capture_output=True, check=True).stdout.strip()
        for more in ({}, limited)
    ]
    assert found[0] == HERE.instructions
    assert found[1] != found[0]
    assert "ONEDNN_MAX_CPU_ISA=SSE41" in found[1]
