"""The open ontology: all classes of five data sets, true to itself, and sentences that can say whatever is drawn."""

import math
import re
from functools import cache

import pytest

from terrasynth.prompts.expanders.grammar import CAPTIONS, GrammarExpander
from terrasynth.prompts.scenes.ontology import load_ontology, load_sentences
from terrasynth.prompts.scenes.scene import Scene
from terrasynth.prompts.scenes.wording import ClassWords, Phrases, ground_view_words, words

OPEN = load_ontology("open")
WORDS = ClassWords(OPEN)
GRAMMAR = GrammarExpander("open")
each_class = pytest.mark.parametrize("label", OPEN.classes)

DATA_SETS = {
    "ucm": """agricultural airplane baseballdiamond beach buildings chaparral denseresidential forest freeway golfcourse
        harbor intersection mediumresidential mobilehomepark overpass parkinglot river runway sparseresidential
        storagetanks tenniscourt""",
    "rsicd": """airport bareland baseballfield beach bridge center church commercial denseresidential desert farmland
        forest industrial meadow mediumresidential mountain park parking playground pond port railwaystation resort
        river school sparseresidential square stadium storagetanks viaduct""",
    "aid": """Airport BareLand BaseballField Beach Bridge Center Church Commercial DenseResidential Desert Farmland
        Forest Industrial Meadow MediumResidential Mountain Park Parking Playground Pond Port RailwayStation Resort
        River School SparseResidential Square Stadium StorageTanks Viaduct""",
    "resisc45": """airplane airport baseball_diamond basketball_court beach bridge chaparral church circular_farmland
        cloud commercial_area dense_residential desert forest freeway golf_course ground_track_field harbor
        industrial_area intersection island lake meadow medium_residential mobile_home_park mountain overpass palace
        parking_lot railway railway_station rectangular_farmland river roundabout runway sea_ice ship snowberg
        sparse_residential stadium storage_tank tennis_court terrace thermal_power_station wetland""",
    "eurosat": """AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River
        SeaLake""",
}


@cache
def prompts(label):
    return GRAMMAR.expand(label, 4, 0, 40)


def captions(label):
    return [one for prompt in prompts(label) for one in prompt.captions]


def choices(label):
    """Everything that the objects of a class can say, without the counts."""
    for thing in OPEN.classes[label].objects.values():
        for choice in (thing.noun, thing.state, thing.relation, *thing.attributes):
            yield from choice


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_every_class_of_the_data_sets_is_there_once(data_set):
    found = [spec.aliases[data_set] for spec in OPEN.classes.values() if data_set in spec.aliases]
    assert sorted(found) == sorted(DATA_SETS[data_set].split())


def test_labels_are_those_of_uc_merced_where_it_has_one():
    assert all(spec.aliases.get("ucm", label) == label for label, spec in OPEN.classes.items())
    assert {key for spec in OPEN.classes.values() for key in spec.aliases} == set(DATA_SETS)
    assert all(spec.aliases and re.fullmatch("[a-z]+", label) for label, spec in OPEN.classes.items())


def test_no_two_classes_share_a_name():
    owners = [(form, label) for label, spec in OPEN.classes.items() for form in {spec.name, *spec.synonyms}]
    forms = {}
    for name, label in owners:
        for number in (name, name.removesuffix("s")):
            assert forms.setdefault(number, label) == label


@each_class
def test_the_main_object_names_the_class(label):
    spec = OPEN.classes[label]
    assert next(iter(spec.objects)) == "main"
    for noun in spec.objects["main"].noun:
        assert noun in spec.synonyms or OPEN.countable.get(noun) in spec.synonyms


@each_class
def test_objects_that_name_another_class_are_mentions(label):
    spec = OPEN.classes[label]
    names = Phrases(name for one in OPEN.classes.values() for name in one.synonyms)
    owner = {name: other for other, one in OPEN.classes.items() for name in one.synonyms}
    objects = [one for role, thing in spec.objects.items() if role != "main" for one in thing.noun]
    found = {owner[name] for said in objects for _, _, name in names.find(words(said))}
    assert found - {label} <= set(spec.mentions)
    conditions = [one for weights in OPEN.conditions.values() for one in weights]
    assert not [name for said in conditions for _, _, name in names.find(words(said))]


def test_every_noun_is_declared_once_and_used():
    declared = [*OPEN.countable, *OPEN.plural_only, *OPEN.mass]
    used = {noun for spec in OPEN.classes.values() for thing in spec.objects.values() for noun in thing.noun}
    assert len(declared) == len(set(declared))
    assert set(declared) == used


def test_words_are_lower_case_ascii():
    conditions = [one for weights in OPEN.conditions.values() for one in weights]
    counts = [one for spec in OPEN.classes.values() for thing in spec.objects.values() for one in thing.count]
    names = [one for spec in OPEN.classes.values() for one in (spec.name, *spec.synonyms)]
    said = [one for label in OPEN.classes for one in choices(label)]
    for one in (*said, *names, *counts, *conditions, *OPEN.countable.values()):
        assert re.fullmatch(r"[a-z' -]*", one), one
        assert one == " ".join(one.split())


@each_class
def test_a_class_has_a_million_scenes_at_any_resolution_that_shows_most_of_it(label):
    spec = OPEN.classes[label]
    product = 1
    for thing in spec.objects.values():
        choice = (thing.noun, thing.count, thing.state, thing.relation, *thing.attributes)
        product *= math.prod(map(len, choice)) + (thing.chance < 1)
    assert product >= 10**6
    others = [thing for role, thing in spec.objects.items() if role != "main"]
    around = [thing for thing in others if thing.surroundings]
    assert len(others) - len(around) >= 4
    assert len(around) >= 2
    for kind in (around, [thing for thing in others if not thing.surroundings]):
        assert any(thing.gsd is None or thing.gsd >= spec.gsd[1] for thing in kind)


@each_class
def test_every_object_but_the_main_one_has_its_place(label):
    for role, thing in OPEN.classes[label].objects.items():
        assert (role == "main") == ("" in thing.relation)


def test_contradictions_are_of_phrases_that_can_be_said():
    said = {one for label in OPEN.classes for one in choices(label)}
    said |= {one for weights in OPEN.conditions.values() for one in weights}
    said |= {count for spec in OPEN.classes.values() for thing in spec.objects.values() for count in thing.count}
    for phrase in (phrase for pair in OPEN.contradictions for side in pair for phrase in side):
        assert any(re.search(rf"\b{re.escape(phrase)}(?:e?s)?\b", one) for one in said), phrase


def test_contradictions_keep_apart():
    groups = [[re.compile("|".join(rf"\b{re.escape(one)}\b" for one in side)) for side in pair]
              for pair in OPEN.contradictions]
    for label in OPEN.classes:
        for prompt in prompts(label)[:15]:
            scene = Scene.from_json(prompt.whole)
            things = [" ".join((one.noun, *one.attributes, f"; {one.state}")) for one in scene.objects]
            things += [scene.season, scene.light, scene.place]
            for pair in groups:
                one, other = ({i for i, said in enumerate(things) if side.search(said)} for side in pair)
                assert not {(i, j) for i in one for j in other if i != j}, (things, pair)


def test_sensors_fit_the_resolution():
    assert set(OPEN.sensor_gsd) == set(OPEN.conditions["sensor"])
    for label in OPEN.classes:
        for prompt in prompts(label):
            scene = Scene.from_json(prompt.whole)
            finest, coarsest = OPEN.sensor_gsd[scene.sensor]
            assert finest <= scene.gsd <= coarsest


@each_class
def test_every_caption_names_its_class_alone_from_above(label):
    assert all(1 <= len(prompt.captions) <= CAPTIONS for prompt in prompts(label))
    assert len(captions(label)) >= 4 * len(prompts(label))  # a short text can be said again in few ways
    for text in captions(label):
        assert WORDS.names(label, text), text
        assert not WORDS.others(label, text), text
        assert not ground_view_words(text), text


def test_captions_are_sentences():
    for text in (text for label in OPEN.classes for text in captions(label)):
        assert re.fullmatch(r"[A-Z][^\[\]{}]*[a-z]\.", text), text
        assert 2 <= len(text.split()) <= 60, text
        assert not re.search(r"  | [,.;:]|,,|\ba a\b|\bthe the\b|\bof of\b|\bin in\b|\bwith with\b", text), text
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]", text, re.IGNORECASE), text
        assert not re.search(r"^(?:Two|Several|Many|A few) [a-z -]*? (?:is|has) |there is (?:two|many)", text), text


def test_every_template_is_said():
    sentences = load_sentences("open")
    assert len(sentences["short"]) >= 10
    assert len(sentences["dense"]) >= 25
    templates = [text for own in sentences.values() for text in own]
    assert len(set(templates)) == len(templates)
    assert all("{main}" in text or "{main.bare}" in text for text in templates)
    texts = [text for label in OPEN.classes for text in captions(label)]
    for template in templates:
        constants = [part for part in re.split(r"\[[^\]]*\]|\{[^}]*\}", template) if part.strip(" ,")]
        pattern = ".*".join(re.escape(part.strip()) for part in constants)
        assert any(re.search(pattern, text, re.IGNORECASE) for text in texts), template
