"""The recipe that `target` writes: valid, with the comments of its base, and drawn in what sets classes apart."""

import numpy as np
import pytest
import yaml

from terrasynth import Recipe, plan, run, target
from terrasynth.eval import load_classifier
from terrasynth.prompts import load_expander
from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.wording import singular, words
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.targeting.confusions import Confusions
from terrasynth.synthesis.targeting.hard_pairs import RARE, hard_pairs, most_confused, telling
from terrasynth.synthesis.targeting.measuring import Synthetic, classified, probed
from terrasynth.synthesis.targeting.targeting import PAIRS
from tests.synthesis.conftest import CLASSES
from tests.synthesis.helpers import rows
from tests.tiny import tiny_pictures, tiny_vit_classifier

UCM = list(load_ontology("ucm").classes)


def _seen(missed, n=10, labels=UCM):
    """Predictions: class -> (what it is taken for, how often); all else is right."""
    for label in labels:
        rival, times = missed.get(label, (label, 0))
        yield from [(label, rival)] * times
        yield from [(label, label)] * (n - times)


MISSED = {"denseresidential": ("mediumresidential", 6), "mediumresidential": ("denseresidential", 3),
          "river": ("forest", 4), "runway": ("freeway", 1)}


@pytest.fixture(scope="module")
def made():
    return target(_seen(MISSED), images=420)


def test_the_demo_gets_more_of_what_is_missed(made):
    found = made.allocation
    assert sum(found.values()) == 420
    assert found["denseresidential"] == max(found.values())
    assert found["denseresidential"] > found["river"] > found["mediumresidential"] > found["runway"] > found["beach"]
    every = 14 / 210
    shares = {label: (MISSED.get(label, ("", 0))[1] + 5 * every) / 15 for label in UCM}
    wanted = 5 + 315 * shares["denseresidential"] / sum(shares.values())
    assert found["denseresidential"] == pytest.approx(wanted, abs=1)
    assert found["beach"] >= 5  # the floor: a quarter of 420 / 21
    assert target(_seen(MISSED), images=420).text == made.text


def test_the_recipe_is_one_and_says_how_it_came_about(made, tmp_path):
    assert made.write(tmp_path / "own.yaml")
    loaded = Recipe.load(tmp_path / "own.yaml")
    assert loaded == made.recipe
    assert loaded.target.per_class == made.allocation
    assert loaded.target.max_attempts == pytest.approx(9.6 * max(made.allocation.values()), abs=1)
    assert loaded.name == "terrasynth-demo-targeted"
    assert (loaded.filters, loaded.generator, loaded.seed) == tuple(
        getattr(Recipe.load("demo"), name) for name in ("filters", "generator", "seed"))
    text = (tmp_path / "own.yaml").read_text()
    assert "# What `make demo` runs" in text  # the comment of the base
    assert "196 of 210 images recognized" in text
    assert "# n = 10, recall 0.400 [0.168, 0.687], taken for mediumresidential (6)" in text
    assert "# apart from mediumresidential" in text
    assert not made.write(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_text(text + "seed: 1\n")
    with pytest.raises(InputError, match="is there and says something else"):
        made.write(tmp_path / "own.yaml")
    assert made.write(tmp_path / "own.yaml", overwrite=True)


def test_the_table_has_class_n_recall_rivals_and_images(made):
    lines = made.lines()
    assert lines[0].split("  ")[0] == "class"
    assert lines[1].split() == ["denseresidential", "10", "0.400", "[0.168,", "0.687]", "mediumresidential", "(6)",
                                str(made.allocation["denseresidential"])]
    assert len(lines[1:]) >= 21
    assert any("n = 10 images a class: of a class with 10, 67% of its error counts" in line for line in lines)


def test_hard_pairs_say_what_the_other_cannot(made):
    pairs = {(each.label, each.rival): each for each in made.pairs.pairs}
    assert {("denseresidential", "mediumresidential"), ("mediumresidential", "denseresidential")} <= pairs.keys()
    assert {each.confused for each in pairs.values()} <= {9, 4}  # both ways together; what happens once is no pair
    ontology = load_ontology("ucm")
    for (_, rival), pair in pairs.items():
        said = " ".join(str(each.model_dump()) for each in ontology.classes[rival].objects.values())
        assert pair.words
        assert {singular(word) for word in words(said)}.isdisjoint(pair.words)
        assert RARE <= pair.said < 1
    checks = made.recipe.prompts.checks
    assert (checks.view, checks.keep_class) == (False, False)  # as without checks
    assert set(checks.says) == {label for label, _ in pairs}


def test_the_prompts_of_the_recipe_say_it(made, tmp_path):
    job = Job(made.recipe, tmp_path / "run")
    own = [set(some) for some in made.recipe.prompts.checks.says["denseresidential"]]
    said = [{singular(word) for word in words(prompt.text)} for prompt in job.prompts("denseresidential", 0, 40)]
    assert all(some & each for each in said for some in own)
    plain = load_expander("grammar")
    assert [prompt.text for prompt in job.prompts("beach", 0, 20)] == [
        prompt.text for prompt in plain.expand("beach", 0, 0, 20)]
    rest = [{singular(word) for word in words(prompt.text)} for prompt in plain.expand("denseresidential", 0, 0, 40)]
    assert not all(some & each for each in rest for some in own)


def test_pairs_that_nothing_sets_apart_are_named_and_left():
    ontology = load_ontology("ucm")
    assert telling(ontology, "river", "river") == ()
    found = hard_pairs(Confusions.of([("beach", "beach")] * 3), Recipe.load("demo"), load_expander("grammar"), UCM, 3)
    assert (found.pairs, found.notes) == ((), ())
    other = Recipe.load("demo", ["prompts={expander: lm, model: none}"])
    left = hard_pairs(Confusions.of(_seen(MISSED)), other, load_expander("grammar"), UCM, 3)
    assert left.pairs == ()
    assert "prompts of the expander lm are left as they are" in left.notes[0]


def test_classes_that_are_set_apart_anyway_are_named_and_left():
    seen = Confusions.of(_seen({"baseballdiamond": ("beach", 4)}))
    found = hard_pairs(seen, Recipe.load("demo"), load_expander("grammar"), UCM, 3)
    assert found.pairs == ()
    assert found.notes == ("prompts of baseballdiamond all say already what sets them apart from beach",
                           "prompts of beach all say already what sets them apart from baseballdiamond")
    assert target(_seen({"baseballdiamond": ("beach", 4)})).recipe.prompts.checks is None


def test_most_confused_counts_both_directions():
    found = most_confused(Confusions.of(_seen(MISSED)), UCM, 5)
    assert found == [("denseresidential", "mediumresidential", 9), ("forest", "river", 4)]
    assert most_confused(Confusions.of(_seen(MISSED)), UCM, 1) == found[:1]


def test_what_is_written_plans(tree, tmp_path):
    (tmp_path / "base.yaml").write_text("# my own\n" + yaml.safe_dump(tree, sort_keys=False))
    made = target(_seen({"beach": ("river", 5)}, labels=CLASSES), tmp_path / "base.yaml", images=9)
    made.write(tmp_path / "own.yaml")
    assert "# my own" in made.text
    planned = plan(Recipe.load(tmp_path / "own.yaml"))
    assert planned.at_least >= 9
    assert list(planned.prompts) == CLASSES


BASES = {
    "block": "generator:\n  model: ldm-ucm  # who draws\nprompts:\n  expander: grammar\n  # a comment\n"
             "target:\n  # how many\n  per_class: 4\n  max_attempts: 8\n# at the end\n",
    "block checks": "generator: {model: ldm-ucm}\nprompts:\n  expander: grammar\n  checks:\n    max_tokens: auto\n",
    "flow checks": "generator: {model: ldm-ucm}\nprompts: {expander: grammar, checks: {max_tokens: auto}}\n",
    "no prompts": "generator: {model: ldm-ucm}\n",
    "last": "target: {per_class: 4}\ngenerator: {model: ldm-ucm}\nprompts: {expander: grammar}",
    "identity": "identity: abc\nname: mine\ngenerator: {model: ldm-ucm}\nprompts:\n  classes: all\n",
}


@pytest.mark.parametrize("base", BASES)
def test_any_way_to_write_a_base_keeps_its_comments(base, tmp_path):
    (tmp_path / "base.yaml").write_text(BASES[base])
    made = target(_seen(MISSED), tmp_path / "base.yaml", images=84)
    for comment in ("# who draws", "# a comment", "# at the end"):
        assert (comment in made.text) == (comment in BASES[base])
    assert made.recipe.prompts.checks.says
    assert made.recipe.prompts.checks.max_tokens == ("auto" if "checks" in base else None)
    assert made.recipe.identity is None
    plain = target(_seen(MISSED), tmp_path / "base.yaml", images=84, pairs=0)
    assert (plain.recipe.identity, plain.allocation) == (Recipe.load(tmp_path / "base.yaml").identity, made.allocation)


@pytest.mark.parametrize(("base", "message"), [
    ("{generator: {model: ldm-ucm}}", "written on one line"),
    ("generator: {model: ldm-ucm}\nprompts: {expander: grammar,\n  classes: all  # those\n  }\n", "cannot be edited"),
    ("generator: {model: ldm-ucm}\nprompts: {checks: {says: {river: [[blue]]}}}\n", "sets classes apart already"),
])
def test_bases_that_cannot_be_edited_are_refused(base, message, tmp_path):
    (tmp_path / "base.yaml").write_text(base)
    with pytest.raises(InputError, match=message):
        target(_seen(MISSED), tmp_path / "base.yaml", images=84)


def test_a_run_grows_where_it_is_missed_and_keeps_what_it_has(finished, tmp_path):
    before = rows(finished)
    made = target(_seen({"river": ("beach", 8), "beach": ("river", 2)}, labels=CLASSES), grow=finished, images=6)
    assert made.recipe.target.per_class == {label: 5 + count for label, count in made.allocation.items()}
    assert made.allocation["river"] > made.allocation["beach"] >= made.allocation["forest"] >= 1
    assert made.pairs.pairs == ()
    assert made.recipe.identity is not None
    made.write(tmp_path / "round-1.yaml")
    run(Recipe.load(tmp_path / "round-1.yaml"), finished)
    now = rows(finished)
    assert {row["id"] for row in before} <= {row["id"] for row in now}
    assert [sum(row["label"] == label for row in now) for label in CLASSES] == list(
        made.recipe.target.per_class.values())
    again = target(_seen({"forest": ("river", 9)}, labels=CLASSES), grow=finished, images=3)
    assert [each.there for each in again.classes] == list(made.recipe.target.per_class.values())
    with pytest.raises(InputError, match="a run keeps its prompts"):
        target(_seen(MISSED, labels=CLASSES), grow=finished, images=6, pairs=2)
    with pytest.raises(InputError, match="how many images the run is to get on top"):
        target(_seen(MISSED, labels=CLASSES), grow=finished)
    with pytest.raises(InputError, match="leave --recipe out"):
        target(_seen(MISSED, labels=CLASSES), "sdxl", grow=finished, images=6)


@pytest.mark.parametrize(("given", "changes", "message"), [
    ([], {}, "no predictions"),
    ([("mars", "venus")], {}, "none of the images has a class of the recipe: they have 'mars'"),
    ([("river", "17")], {}, "no prediction is a class of the recipe"),
    ([("river", "river")], {"images": 20}, "--images 20 for 21 classes"),
    ([("river", "river")], {"floor": 1.2}, "--floor 1.2"),
    ([("river", "river")], {"split": "Test"}, "choose on val"),
    ([("river", "river")], {"grow": "nowhere", "images": 30}, "holds no run"),
])
def test_wrong_input_is_one_line(given, changes, message):
    with pytest.raises(InputError) as error:
        target(given, **changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_without_an_image_has_the_error_of_all(made):
    found = target([("river", "forest"), ("river", "river"), ("forest", "forest"), ("mars", "river")])
    beach = next(each for each in found.classes if each.label == "beach")
    assert (beach.n, beach.recall, beach.comment) == (0, "", "n = 0: as all classes")
    assert beach.error == pytest.approx(1 / 3)
    assert sum(found.allocation.values()) == 210
    assert "the recipe does not draw mars: their images are left out" in found.notes
    assert made.pairs.pairs[0].confused == 9
    assert len(most_confused(Confusions.of(_seen(MISSED)), UCM, PAIRS)) == 2


class Pair:
    """A real image in memory."""

    def __init__(self, pixels, label, name="image"):
        from PIL import Image

        self.name, self.label, self.captions = name, label, ("a place",)
        self.open = lambda: Image.fromarray(pixels)


def test_any_classifier_of_transformers_is_run_at_the_images_own_size(tmp_path, models):
    """Also one whose backbone pools nothing, as a vision transformer's."""
    images = [*tiny_pictures(5), *tiny_pictures(3, size=48, seed=1), *tiny_pictures(70, seed=2)]
    pairs = [Pair(pixels, CLASSES[number % 3]) for number, pixels in enumerate(images)]
    for folder in (models.classifier, tiny_vit_classifier(tmp_path / "vit", CLASSES)):
        classifier = load_classifier(folder)
        found = classified(pairs, classifier)
        seen = [classifier.labels[classifier.probabilities(pixels[None]).argmax()] for pixels in images]
        assert found == Confusions.of(zip([pair.label for pair in pairs], seen, strict=True))
        assert found.total == 78
    with pytest.raises(InputError, match="'image' has no class"):
        classified([Pair(images[0], "")], classifier)


class Colors:
    """Mean color."""

    dim, reads_text, precision = 3, False, "float32"

    def features(self, images, batch_size=64):
        return images.mean((1, 2), dtype=np.float32)


def _flat(label, count, size=32):
    color = {"beach": (200, 180, 120), "forest": (30, 90, 30), "river": (40, 60, 160)}[label]
    generator = np.random.default_rng(CLASSES.index(label))
    return [np.clip(np.array(color) + generator.normal(0, 12, (size, size, 3)), 0, 255).astype(np.uint8)
            for _ in range(count)]


def test_a_probe_learns_from_real_and_from_synthetic_images():
    train = [Pair(pixels, label) for label in ("beach", "forest") for pixels in _flat(label, 4)]
    asked = [Pair(pixels, label) for label in CLASSES for pixels in _flat(label, 6, 40)]
    alone = probed(train, asked, Colors())
    assert (alone.n_train, alone.n_synthetic, alone.weight) == (8, 0, 1.0)
    assert alone.confusions.missed("river") == 6  # which it never saw
    assert alone.confusions.missed("beach") == alone.confusions.missed("forest") == 0
    river = Synthetic(np.stack(_flat("river", 5)), ("river",) * 5)
    both = probed(train, asked, Colors(), river)
    assert (both.n_synthetic, both.confusions.missed("river")) == (5, 0)
    wrong = Synthetic(np.stack(_flat("river", 50)), ("beach",) * 50)
    assert probed(train, asked, Colors(), wrong).weight <= 1
    with pytest.raises(InputError, match="a probe needs two"):
        probed(train[:4], asked, Colors())
