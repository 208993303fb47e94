"""The control of filters on a run whose good and bad attempts are known: an oracle is useful, random scores useless."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import yaml

from terrasynth.eval import ClipEncoder, SceneClassifier, load_encoder
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.images import decode, encode
from terrasynth.synthesis.core.real_pictures import RealPictures
from terrasynth.synthesis.filters import DuplicateFilter, QualityFilter, SceneFilter
from terrasynth.synthesis.filters.base import ClassJudge, FilterSettings, Source
from terrasynth.synthesis.ledger.attempts import Attempts
from terrasynth.synthesis.ledger.blocks import Attempt, Blocks
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.frozen import Frozen
from terrasynth.synthesis.studies.filters.control import NOTHING, TOGETHER, control_filters, parse_tried
from terrasynth.synthesis.studies.filters.judging import judge_attempts
from terrasynth.synthesis.studies.filters.page import write_control
from tests.synthesis.conftest import CLASSES
from tests.synthesis.helpers import fingerprint
from tests.tiny import TEXTS, tiny_pictures

SIZE, PER_CLASS = 8, 24


class RandomFilter(FilterSettings):
    """Scores that know nothing; only for tests."""

    kind: Literal["random"] = "random"
    places = ()
    share: float = 0.3
    seed: int = 0

    @property
    def source(self):
        return Source("quality")

    def judge(self, label: str, model: object, scratch: Path) -> ClassJudge:
        return _RandomJudge(self.share, [self.seed, *label.encode()])


class _RandomJudge(ClassJudge):
    def __init__(self, share, seed):
        self.threshold = share
        self._generator = np.random.default_rng(seed)

    def begin(self, measurements):
        self._scores = self._generator.random(len(measurements))

    def score(self, row):
        return float(self._scores[row])

    def passes(self, score):
        return score >= self.threshold


ORACLE = QualityFilter(measure="colour", min_score=1)


@pytest.fixture(scope="module")
def planted(models, tmp_path_factory):
    """A run of which a third of the attempts are in greys, with the text that suits them least."""
    root = tmp_path_factory.mktemp("planted") / "run"
    pictures = tiny_pictures(3 * PER_CLASS, seed=8)
    bad = np.arange(len(pictures)) % 3 == 0
    pictures[bad] = pictures[bad].mean(3, keepdims=True).astype(np.uint8)
    judge = load_encoder(models.other_encoder)
    scores = judge.encode_images(pictures) @ judge.encode_texts(list(TEXTS)).T
    texts = [TEXTS[row.argmin() if greys else row.argmax()] for row, greys in zip(scores, bad, strict=True)]
    identity = Identity.of(0, {"model": "none"}, {"expander": "test"})
    Frozen(identity, SIZE, "png").save(root)
    blocks = Blocks(root, SIZE, "png")
    for number, label in enumerate(CLASSES):
        for index in range(PER_CLASS // SIZE):
            start = number * PER_CLASS + index * SIZE
            blocks.write(label, index, [
                Attempt(identity.attempt(label, k)[0], k, label, encode(pictures[row], "png"), texts[row],
                        (texts[row],), row, "test", "{}")
                for row in range(start, start + SIZE) for k in [row - number * PER_CLASS]
            ], None, None)
    recipe = {
        "name": "planted", "generator": {"model": "none"}, "identity": identity.hash,
        "filters": [{"kind": "quality", "measure": "colour", "min_score": 1}], "runtime": {"block_size": SIZE},
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return root


def control(planted, models, tried=(), **settings):
    options = {"encoder": str(models.other_encoder), "classifier": str(models.classifier)} | settings
    return control_filters(planted, tried, **options)


REAL = RealPictures(tiny_pictures(20, seed=9), ("a beach",) * 20, ("beach",) * 20)


def test_an_oracle_is_useful_and_random_scores_are_useless(planted, models):
    found = control(planted, models, [RandomFilter()], real=REAL, real_name="tiny")
    oracle, chance = found.findings
    assert (oracle.verdict, oracle.in_recipe) == ("useful", True)
    assert (oracle.removed, oracle.n) == (PER_CLASS, 3 * PER_CLASS)
    assert oracle.classes == {label: (16, 24) for label in CLASSES}
    score = {each.name: each for each in oracle.comparisons}["CLIP score"]
    assert score.kept > score.random_high
    assert (chance.verdict, chance.in_recipe) == ("useless", False)
    assert 0 < chance.removed < chance.n
    assert {each.name for each in chance.comparisons} == {
        "scene accuracy", "CLIP score", "Frechet distance", "coverage", "distance within"
    }


def test_random_scores_are_called_useless_again_and_again(planted, models):
    tried = [RandomFilter(seed=seed) for seed in range(20)]
    verdicts = [each.verdict for each in control(planted, models, tried).findings[1:]]
    # 95 % should be, over one run whose figures they share; 3 standard errors below
    assert verdicts.count("useless") / len(verdicts) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / len(verdicts))


def test_what_a_filter_alone_removes_is_what_no_other_does(planted, models):
    found = control(planted, models, [ORACLE, DuplicateFilter(max_similarity=0.0)])
    oracle, again, duplicate = found.findings
    assert oracle.alone == again.alone == 0
    assert 0 < duplicate.alone <= duplicate.removed


def test_the_recipes_filters_are_judged_together_too(planted, models):
    recipe = RunDirectory(planted).recipe
    content = yaml.safe_load((planted / "recipe.yaml").read_text())
    content["filters"].append({"kind": "duplicate", "max_similarity": 1.0})
    (planted / "recipe.yaml").write_text(yaml.safe_dump(content))
    try:
        *_, together = control(planted, models).findings
    finally:
        (planted / "recipe.yaml").write_text(yaml.safe_dump(recipe.tree()))
    assert (together.name, together.removed) == (TOGETHER, PER_CLASS)


def test_a_filter_is_judged_by_models_that_are_not_its_own(planted, models):
    scene = SceneFilter(classifier=str(models.classifier), top=1)
    found = control(planted, models, [scene, RandomFilter()], real=REAL)
    _, by_scene, by_chance = found.findings
    own = load_encoder(models.other_encoder).identity()["content"]
    assert {each.network for each in by_scene.comparisons} == {f"{models.other_encoder.name} {own}"}
    assert "by the texts of the classes" in by_scene.comparisons[0].note
    assert {each.network for each in by_chance.comparisons} > {f"{models.other_encoder.name} {own}"}
    same = control(planted, models, parse_tried(RunDirectory(planted).recipe, [
        f"alignment={{encoder: {models.other_encoder}, min_score: 0.1}}"
    ])).findings[1]
    by_name = {each.name: each for each in same.comparisons}
    assert (by_name["CLIP score"].counted, by_name["scene accuracy"].counted) == (False, True)
    assert by_name["CLIP score"].note == "not counted: the filter's own encoder"


def test_printed_verdicts_follow_from_the_printed_lines(planted, models):
    tried = [RandomFilter(seed=seed, share=0.5) for seed in range(10)]
    known = {(True, False): "useful", (False, True): "harmful", (True, True): "mixed", (False, False): "useless"}
    verdicts = []
    for each in control(planted, models, tried, real=REAL).findings:
        head, *lines = each.lines()
        outcomes = [line.split("; ")[2].rsplit(", ", 1)[0] for line in lines if "random keep " in line]
        assert set(outcomes) <= {"better", "worse", "no different", "not counted"}
        verdicts.append(known["better" in outcomes, "worse" in outcomes])
        assert head.split(": ")[1].split(";")[0] == each.verdict == verdicts[-1]
    assert verdicts[0] == "useful"


def test_a_figure_of_pairs_is_left_out_where_no_pair_is_kept(planted, models):
    found = control(planted, models, [DuplicateFilter(max_similarity=-1)]).findings[1]
    assert found.kept == len(CLASSES)
    assert "distance within" not in {each.name for each in found.comparisons}
    assert "distance within not measured: it keeps no two images of any class" in found.notes
    assert not any("nan" in line for line in found.lines())


def test_nothing_removed_is_said_and_so_is_what_was_not_measured(planted, models):
    found = control(planted, models, [QualityFilter(measure="clipping", max_score=1)]).findings[1]
    assert (found.verdict, found.comparisons) == (NOTHING, ())
    assert "not measured: give at least 6 real images" in found.notes[0]


def test_the_same_command_gives_the_same_figures_and_draws_nothing(planted, models, tmp_path):
    before = fingerprint(planted / "blocks")
    first, second = (control(planted, models, [RandomFilter()], real=REAL) for _ in range(2))
    assert first.to_json() == second.to_json()
    alone = control(planted, models, real=REAL)
    assert alone.findings[0].comparisons == first.findings[0].comparisons
    assert control(planted, models, seed=1).findings[0].comparisons != alone.findings[0].comparisons
    assert fingerprint(planted / "blocks") == before
    for name in ("a", "b"):
        write_control(tmp_path / name, first)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")


def test_page_and_json_say_the_same_and_hold_no_path(planted, models, tmp_path):
    found = control(planted, models, [RandomFilter()], real=REAL, real_name="tiny")
    page = write_control(tmp_path / "page", found).read_text()
    figures = json.loads((tmp_path / "page" / "filters.json").read_text())
    assert [each["verdict"] for each in figures["filters"]] == ["useful", "useless"]
    assert "1 of 2 filters keeps better images than chance" in page
    assert str(planted.parent) not in page + json.dumps(figures)
    for place in (0, 1):
        for kind in ("removed", "kept"):
            sheet = tmp_path / "page" / f"{place:02d}-{kind}.png"
            assert sheet.name in page
            assert decode(sheet.read_bytes()).shape[1] > 100
    oracle = found.findings[0]
    assert all(oracle.sample_scores[number] < 1 for number in oracle.removed_sample)
    assert all(oracle.sample_scores[number] >= 1 for number in oracle.kept_sample)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene", "exactly one of min_probability, pass_real and top"),
        ("scen={top: 1}", "'scen' is no filter (did you mean 'scene'?)"),
        ("scene=[", "is not of the form KIND={key: value}"),
        ("quality={measure: seams, max: 2}", "unknown key 'filters.0.max'"),
    ],
)
def test_a_tried_filter_is_checked_as_one_of_a_recipe(planted, text, message):
    with pytest.raises(InputError) as caught:
        parse_tried(RunDirectory(planted).recipe, [text])
    assert message in str(caught.value)


def test_wrong_input_is_named(planted, models, tmp_path):
    with pytest.raises(InputError, match=r"has no recipe\.yaml"):
        control(tmp_path, models)
    with pytest.raises(InputError, match="repeats 99: with fewer than 200"):
        control(planted, models, repeats=99)
    (tmp_path / "recipe.yaml").write_text((planted / "recipe.yaml").read_text())
    with pytest.raises(InputError, match=r"has no identity\.json, so it is no run"):
        control(tmp_path, models)
    (tmp_path / "identity.json").write_text((planted / "identity.json").read_text())
    with pytest.raises(InputError, match="holds no attempts"):
        control(tmp_path, models)


def test_attempts_are_embedded_once(planted, models, tmp_path, monkeypatch):
    attempts = Attempts.of(Blocks(planted, SIZE, "png"), 1000)
    judges = (str(models.other_encoder), str(models.classifier), REAL, "cpu")
    plain, first = judge_attempts(attempts, *judges), judge_attempts(attempts, *judges, tmp_path)
    for network, name in ((ClipEncoder, "features"), (ClipEncoder, "encode_texts"), (SceneClassifier, "classify")):
        monkeypatch.delattr(network, name)
    again = judge_attempts(attempts, *judges, tmp_path)
    for one in (first, again):
        for name in ("alignment", "embeddings", "features", "real_embeddings", "real_features", "seen"):
            np.testing.assert_array_equal(getattr(one, name), getattr(plain, name))
