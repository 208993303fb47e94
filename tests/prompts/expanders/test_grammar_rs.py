"""The profile `rs`: the classes of UC Merced and RSICD, in the words of their captions."""

import json
import os
import re
from pathlib import Path

import pytest

from terrasynth.prompts import load_expander
from terrasynth.prompts.expanders.grammar import GrammarExpander
from terrasynth.prompts.scenes.ontology import UCM, load_ontology
from terrasynth.prompts.scenes.scene import Scene
from terrasynth.prompts.scenes.wording import load_class_words, words

RS = load_ontology("rs")
NAMES = load_class_words("rs")
GRAMMAR = GrammarExpander("rs")
OWN = [label for label in RS.classes if label not in UCM.classes]
RSICD = {"agricultural", "airport", "bareland", "baseballdiamond", "beach", "bridge", "center", "church",
         "commercial", "denseresidential", "desert", "forest", "harbor", "industrial", "meadow", "mediumresidential",
         "mountain", "park", "parkinglot", "playground", "pond", "railwaystation", "resort", "river", "school",
         "sparseresidential", "square", "stadium", "storagetanks", "viaduct"}


def test_it_has_the_classes_of_both_data_sets_each_once():
    assert set(RS.classes) == set(UCM.classes) | RSICD
    assert len(RS.classes) == 40
    assert {noun: RS.countable[noun] for noun in UCM.countable} == UCM.countable
    assert load_expander("grammar", profile="rs").classes == tuple(RS.classes)


@pytest.mark.parametrize("label", UCM.classes)
def test_classes_of_uc_merced_are_said_as_before(label):
    before = GrammarExpander("ucm").expand(label, 3, 0, 30)
    assert [one.choices for one in GRAMMAR.expand(label, 3, 0, 30)] != [one.choices for one in before]  # another stream
    assert RS.classes[label].objects == UCM.classes[label].objects
    assert set(UCM.classes[label].mentions) <= set(RS.classes[label].mentions)


@pytest.mark.parametrize("label", RS.classes)
def test_a_prompt_names_its_class_and_no_other_in_words_of_the_captions(label):
    added = OWN if label in UCM.classes else RS.classes  # of the others of UC Merced, test_grammar has it
    mentions = set(RS.classes[label].mentions)
    for caption in {each for one in GRAMMAR.expand(label, 5, 0, 200) for each in (*one.captions, *one.choices)}:
        assert NAMES.names(label, caption), caption
        others = {other for other in added if other != label and NAMES.names(other, caption)}
        assert others <= mentions, caption
        assert set(words(caption)) <= RS.words
        assert 3 <= len(caption.split()) <= 30
        assert "  " not in caption


@pytest.mark.parametrize("label", OWN)
def test_articles_and_verbs_agree_and_prompts_differ(label):
    prompts = GRAMMAR.expand(label, 3, 0, 300)
    text = " ".join(caption for one in prompts for caption in one.captions).lower()
    assert not re.findall(r"\ba [aeiou]\w*|\ban [^aeiou]\w*", text)
    assert not re.findall(r"\b(?:two|three|four|many|several) \w+s is\b|\bthere are an? (?!few)\w+", text)
    assert not re.findall(r"\bthere is (?:two|three|four|many|lots|several)\b", text)
    assert len({one.text for one in prompts[:200]}) > 80


@pytest.mark.parametrize("label", OWN)
def test_every_choice_is_reached(label):
    scenes = [Scene.from_json(one.whole) for one in GRAMMAR.expand(label, 11, 0, 600)]
    for role, spec in RS.classes[label].objects.items():
        seen = [thing for scene in scenes for thing in scene.objects if thing.role == role]
        assert {thing.noun for thing in seen} == set(spec.noun)
        assert {thing.count for thing in seen} == set(spec.count)
        assert abs(len(seen) / len(scenes) - spec.chance) < 0.1


def real_captions(variable: str) -> list[dict]:
    folder = os.environ.get(variable)
    if not folder or not (Path(folder) / "pairs.jsonl").is_file():
        pytest.skip(f"set {variable} to the folder of its pairs.jsonl to compare with the real captions")
    return [json.loads(line) for line in (Path(folder) / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_vocabulary_is_that_of_the_training_captions():
    rows = [*real_captions("TERRASYNTH_RSICD"), *real_captions("TERRASYNTH_UCM")]
    known = {word for row in rows if row["split"] == "train" for one in row["captions"] for word in words(one)}
    assert known >= RS.words


def test_no_caption_of_rsicd_is_copied():
    real = {" ".join(words(one)) for row in real_captions("TERRASYNTH_RSICD") for one in row["captions"]}
    ours = {" ".join(words(one)) for label in OWN for prompt in GRAMMAR.expand(label, 0, 0, 2000)
            for one in prompt.captions}
    assert not ours & real
