"""Ontologies of users: what they may say, what is refused by name, and that they decide prompts."""

import pytest

from terrasynth.prompts import load_expander
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.draft_text import ClassData, drafted_file
from terrasynth.prompts.scenes.drafts import draft
from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.own_ontology import TAKEN, read_ontology

OWN = """\
gsd: [0.3]
conditions: {season: {"": 1}, light: {"": 1}, place: {"": 1}, sensor: {aerial image: 1}}
countable: {wind turbine: wind turbines}
classes_of_open: {Wald: forest}
classes:
  Wind Turbine:
    name: wind turbine
    synonyms: [wind turbine]
    objects:
      main: {noun: wind turbine, count: {a: 1, two: 1}, attributes: [{white: 1}]}
      field: {noun: {field: 1}, surroundings: true, relation: {around: 1}, chance: 0.5}
"""


def expander(tmp_path, text, **options):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return load_expander("grammar", ontology=str(path), **options)


def test_prompts_say_what_the_file_says(tmp_path):
    own = expander(tmp_path, OWN)
    assert own.classes == ("Wald", "Wind Turbine")
    prompts = own.expand("Wind Turbine", seed=0, start=0, count=200)
    for prompt in prompts:
        assert "white wind turbine" in prompt.text
        assert prompt.label == "Wind Turbine"
    assert {"field" in prompt.text for prompt in prompts} == {True, False}
    assert any("0.3 m" in prompt.text for prompt in prompts)
    assert sum(len(prompt.captions) == 5 for prompt in prompts) > 150
    assert all("wood" in prompt.text.lower() or "forest" in prompt.text.lower()
               for prompt in own.expand("Wald", 0, 0, 50))
    assert prompts[7] == own.expand("Wind Turbine", 0, 7, 1)[0]


def test_what_the_file_says_is_part_of_the_identity_and_comments_are_not(tmp_path):
    identity = expander(tmp_path, OWN).identity()
    assert expander(tmp_path, "# said by me\n" + OWN).identity() == identity
    assert expander(tmp_path, OWN.replace("two: 1", "two: 2")).identity() != identity
    assert "own_ontology" not in load_expander("grammar", profile="open").identity()


@pytest.mark.parametrize(("before", "after", "message"), [
    ("noun: wind turbine, count", "nuon: wind turbine, count", r"classes\.Wind Turbine\.objects\.main\.noun"),
    ("countable: {wind turbine: wind turbines}", "", r"main: 'wind turbine' is neither in countable, nor"),
    ("Wald: forest", "Wald: forrest", r"classes_of_open names 'forrest', .* \(did you mean 'forest'\?\)"),
    ("Wald: forest", "Wind Turbine: forest", r"'Wind Turbine' stands under classes_of_open and under classes"),
    ("classes_of_open: {Wald: forest}", "classes_of_open: [forest]", r"classes_of_open \['forest'\] is wrong"),
    ("  Wind Turbine:", "  a/b:", r"label 'a/b' must be text without slashes"),
    ("chance: 0.5", "chance: 2", r"chance 2 is wrong"),
    ("[0.3]", "[500]", r"own\.yaml: Wald: no sensor takes images of 500 m a pixel"),
    ("gsd: [0.3]", "gsd: [0.3]\ngsd: [0.5]", r"own\.yaml: not YAML of an ontology \(the key 'gsd' stands twice"),
    ("gsd: [0.3]", "gsd: [0.3", r"own\.yaml: not YAML of an ontology"),
    ("gsd: [0.3]", "vocabulary: a b", r"'vocabulary' belongs to the profiles of the package"),
])
def test_a_mistake_is_named(tmp_path, before, after, message):
    assert before in OWN
    with pytest.raises(InputError, match=message) as raised:
        expander(tmp_path, OWN.replace(before, after)).expand("Wind Turbine", 0, 0, 1)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_and_a_profile_beside_it(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\); check its path"):
        load_expander("grammar", ontology=str(tmp_path / "no.yaml"))
    assert expander(tmp_path, OWN, profile="open").profile == "open"
    with pytest.raises(InputError, match="profile 'rs' has sentences for its own classes alone"):
        expander(tmp_path, OWN, profile="rs")
    with pytest.raises(InputError, match="holds no ontology"):
        expander(tmp_path, "")
    with pytest.raises(InputError, match=r"more than 200,000 values"):
        expander(tmp_path, "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)))


@pytest.mark.parametrize(("label", "noun", "counts"), [
    ("WindTurbine", "wind turbine", {"a", "two", "several"}),
    ("Solar_Panels", "solar panel", {"several", "many", "some"}),
    ("flooded farmland", "flooded farmland", {""}),
    ("风力发电机", "风力发电机", {"a", "two", "several"}),
])
def test_a_name_is_drafted_by_its_number(label, noun, counts):
    main = draft(label).objects["main"]
    assert (main["noun"], set(main["count"])) == (noun, counts)


def test_every_draft_can_be_said(tmp_path):
    labels = ["WindTurbine", "Solar Panels", "flooded farmland", "0", "yes", "风力发电机", "a: b", "#x",
              "Überflutung", "sea & sky", "it's", "*", "- x", "null", "Forest"]
    captions = [["Two white boats beside the forest in winter.", "No cars.", ""], ["rows of grey houses , no road"]] * 3
    for own in ((), captions):
        for gsd in ((), (0.3, 0.5), (60.0,)):
            text = drafted_file({label: ClassData(own, gsd) for label in labels}).text
            made = expander(tmp_path, text)
            assert set(made.classes) == set(labels)
            for label in labels:
                assert len(made.expand(label, 0, 0, 20)) == 20


@pytest.mark.parametrize("gsd", [(), (0.5,), (60.0,)])
def test_a_draft_spells_out_what_the_package_knows_of_a_class(tmp_path, gsd):
    """So that it can be edited; whoever changes nothing has the class as `classes_of_open` gives it."""
    labels = sorted(load_ontology("open").classes)
    text = drafted_file({label: ClassData(gsd=gsd) for label in labels}).text
    assert TAKEN not in text
    (tmp_path / "spelled.yaml").write_text(text, encoding="utf-8")
    head = text.partition("\nclasses:\n")[0]
    (tmp_path / "taken.yaml").write_text(f"{head}\n{TAKEN}: {{{', '.join(f'{name}: {name}' for name in labels)}}}\n")
    spelled, taken = (read_ontology(tmp_path / f"{name}.yaml").ontology for name in ("spelled", "taken"))
    assert spelled == taken
    assert "\n  railwaystation:   # what TerraSynth knows of railwaystation;" in text
    assert "\n        noun: {railway station: 6, train station: 4}\n" in text
