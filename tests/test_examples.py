"""Every example in a docstring does what it says, and nothing public is without one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

from reference.api import FACES, public
from tests.test_rooms import FILES

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = [f"terrasynth.{name}" for name, path in FILES.items() if ">>> " in path.read_text(encoding="utf-8")]
PUBLIC = [(face, name) for face in FACES for name in public(face)]
# Records of results, each with the function that makes it and shows it in its own example.
MADE_BY = {
    "Evaluation": "terrasynth.eval.evaluation.evaluate.evaluate",
    "Memorisation": "terrasynth.eval.copies.memorisation.memorisation",
    "Reference": "terrasynth.eval.evaluation.reference.make_reference",
    "Repetition": "terrasynth.eval.copies.repetition.repetition",
    "ResolvedModel": "terrasynth.eval.models.references.resolve",
    "Segmenter": "terrasynth.eval.models.segmenters.load_segmenter",
}


def _found(module):
    """The doctests of a module, each with no name but those that it imports itself, as a reader has to."""
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module), globs={})
    return [test for test in found if test.examples]


def _has_example(thing):
    text = inspect.cleandoc(thing.__doc__ or "")
    return "\nExample:\n    >>> " in text and bool(doctest.DocTestParser().get_examples(text))


@pytest.mark.parametrize("module", MODULES)
def test_examples_do_what_they_say(module, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tests = _found(module)
    lines = Path(importlib.import_module(module).__file__).read_text(encoding="utf-8").splitlines()
    # doctest passes over what it cannot reach, such as the docstring of a cached property
    assert sum(len(test.examples) for test in tests) == sum(line.lstrip().startswith(">>> ") for line in lines)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in tests:
        skipped = [example.source for example in test.examples if example.options.get(doctest.SKIP)]
        assert not skipped, f"{test.name} skips {skipped}"
        runner.run(test)
    assert runner.summarize().failed == 0, capsys.readouterr().out
    assert not list(tmp_path.iterdir()), "an example leaves files where it is run"


@pytest.mark.parametrize(("face", "name"), PUBLIC)
def test_public_names_have_an_example(face, name):
    thing = getattr(importlib.import_module(face), name)
    assert callable(thing)
    if name in MADE_BY:
        home, maker = MADE_BY[name].rsplit(".", 1)
        assert not _has_example(thing), f"{name} has an example of its own; take it out of MADE_BY"
        thing = getattr(importlib.import_module(home), maker)
        assert inspect.signature(thing).return_annotation == name
    assert _has_example(thing), f"{face}.{name}: write a short `Example:` at the end of its docstring"


def test_only_public_names_are_made_by_another():
    assert MADE_BY.keys() <= {name for _, name in PUBLIC}
