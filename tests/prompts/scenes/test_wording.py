"""Which classes a text names, words of a view from the ground, labels in any spelling."""

import pytest

from terrasynth.prompts import load_expander
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.ontology import FOLDER, PROFILES, UCM, Ontology, load_ontology
from terrasynth.prompts.scenes.wording import (
    ClassWords,
    Phrases,
    concepts,
    find_label,
    ground_view_words,
    load_class_words,
    normalised,
    plural,
    resolve_label,
    singular,
    words,
)

WRITTEN = [profile for profile in PROFILES if (FOLDER / f"ontology_{profile}.yaml").is_file()]


def class_spec(*synonyms, **more):
    thing = {"main": {"noun": "tree", "count": {"two": 1}, **more.pop("main", {})}}
    return {"name": synonyms[0], "synonyms": list(synonyms), "objects": thing, **more}


SMALL = Ontology.model_validate({
    "countable": {"tree": "trees", "airplane": "airplanes", "river": "rivers"}, "plural_only": [], "mass": [],
    "classes": {
        "airport": class_spec("airport", "airfield", main={"noun": "airplane"}),
        "airplane": class_spec("airplane", "aircraft"),
        "baseballdiamond": class_spec("baseball diamond", "baseball field"),
        "bridge": class_spec("bridge", main={"state": {"over a river": 1}}),
        "center": class_spec("center"),
        "church": class_spec("church", "cathedral"),
        "farm": class_spec("farmland", "field", aliases={"rsicd": "FarmLand", "eurosat": "AnnualCrop"}),
        "forest": class_spec("forest", mentions=["river"]),
        "mobilehomepark": class_spec("mobile home park"),
        "park": class_spec("park"),
        "river": class_spec("river", main={"noun": "river"}),
        "square": class_spec("square", "plaza"),
    },
})  # fmt: skip
SMALL_WORDS = ClassWords(SMALL)


@pytest.mark.parametrize(("label", "text", "named"), [
    ("river", "A river.", True),
    ("river", "Two Rivers, and no more.", True),
    ("river", "A riverside road.", False),
    ("church", "Churches beside a road", True),
    ("mobilehomepark", "A mobile-home park", True),
    ("mobilehomepark", "Three MOBILE HOME PARKS.", True),
    ("mobilehomepark", "A home in a park", False),
    ("park", "A mobile home park", False),
    ("park", "A mobile home, park and trees", True),
    ("farm", "A baseball field", False),
    ("airport", "The airport's runway", True),
    ("square", "A square", True),
])  # fmt: skip
def test_a_class_is_named_by_whole_words(label, text, named):
    assert SMALL_WORDS.names(label, text) is named


@pytest.mark.parametrize(("label", "text", "others"), [
    ("river", "A river and a forest", ("forest",)),
    ("forest", "A forest along two rivers", ()),
    ("airport", "An airport with aircraft and a cathedral", ("church",)),
    ("airplane", "Two airplanes on an airfield", ("airport",)),
    ("bridge", "A bridge over the river near a park", ("park",)),
    ("mobilehomepark", "A mobile home park", ()),
    ("baseballdiamond", "Two baseball diamond fields", ()),
    ("baseballdiamond", "A baseball diamond beside a field", ("farm",)),
    ("church", "A church building in the center of the picture", ()),
    ("church", "A church with a square roof in a square with trees", ("square",)),
    ("church", "A church on a square, trees around", ("square",)),
    ("river", "A river, churches and plazas, a church", ("church", "square")),
])  # fmt: skip
def test_other_classes_are_found_unless_the_class_may_name_them(label, text, others):
    assert SMALL_WORDS.others(label, text) == others


def test_known_classes_have_a_name_that_people_use():
    assert SMALL_WORDS.knows("farm")
    assert not SMALL_WORDS.knows("harbour")
    assert load_class_words("ucm").name("mobilehomepark") == "mobile home park"


@pytest.mark.parametrize("profile", WRITTEN)
def test_the_grammar_says_what_its_classes_may_say(profile):
    class_words = load_class_words(profile)
    expander = load_expander("grammar", profile=profile)
    wrong = [
        (label, caption)
        for label in expander.classes
        for prompt in expander.expand(label, 8, 0, 200)
        for caption in prompt.captions
        if not class_words.names(label, caption) or class_words.others(label, caption) or ground_view_words(caption)
    ]
    assert wrong == []


@pytest.mark.parametrize(("text", "found"), [
    ("Two airplanes on grey ground.", ()),
    ("A sky-blue roof, a beautiful quiet beach, a clear day.", ()),
    ("A Close-Up of an airplane, cinematic", ("close-up", "cinematic")),
    ("close ups", ("close-up",)),
    ("A macrocosm of neonatal buildings", ()),
    ("An elegant harbor at eye_level with a blue sky, 8K", ("eye level", "blue sky", "8k", "elegant")),
])  # fmt: skip
def test_words_of_a_ground_view_are_found_as_whole_words(text, found):
    assert set(ground_view_words(text)) == set(found)


def test_longer_phrases_hide_those_inside_them_and_marks_end_them():
    phrases = Phrases(["storage tank", "tank farm", "farm", "oil"])
    assert list(phrases.find(["oil", "storage", "tank", "farms"])) == [
        (0, 1, "oil"), (1, 3, "storage tank"), (2, 4, "tank farm")
    ]  # fmt: skip
    assert [phrase for _, _, phrase in phrases.find(["storage", ",", "tank", "farm"])] == ["tank farm"]


def test_words_concepts_and_number():
    assert words("The airport's blue-green_roofs, 2nd.") == ["the", "airport", "blue", "green", "roofs", "2nd"]
    assert normalised(" Two  Boats.") == normalised("two boats!") == "two boats"
    assert concepts("There are two churches with some trees around them.") == {"two", "church", "tree"}
    for one, many in [("church", "churches"), ("overpass", "overpasses"), ("city", "cities"), ("house", "houses")]:
        assert (plural(one), singular(many), singular(one)) == (many, one, one)


@pytest.mark.parametrize("wanted", ["tenniscourt", "tennis_court", "TennisCourt", "tennis court", "Tennis-Courts"])
def test_labels_in_any_spelling(wanted):
    assert resolve_label(wanted, UCM.classes, UCM) == "tenniscourt"
    assert resolve_label(wanted, ["Tennis_Court", "pond"], UCM) == "Tennis_Court"


def test_labels_by_synonym_and_by_the_name_of_a_data_set():
    assert resolve_label("cropland", UCM.classes, UCM) == "agricultural"
    assert resolve_label("AnnualCrop", SMALL.classes, SMALL) == "farm"
    assert resolve_label("Farmland", ["annual_crop", "river"], SMALL) == "annual_crop"
    assert find_label("farmland", ["AnnualCrop", "field"], SMALL) is None
    with pytest.raises(InputError, match=r"class 'harbr' does not exist \(did you mean 'harbor'\?\); `terrasynth init "
                                         r"--classes harbr --out FOLDER` writes .*there: agricul"):
        resolve_label("harbr", UCM.classes, UCM)


def test_an_unknown_profile_is_named():
    with pytest.raises(InputError, match=r"profile 'opn' is unknown \(did you mean 'open'\?\); there is ucm, open"):
        load_class_words("opn")


def test_the_hash_follows_the_names():
    assert load_class_words("ucm").hash() == ClassWords(load_ontology("ucm")).hash() != SMALL_WORDS.hash()
