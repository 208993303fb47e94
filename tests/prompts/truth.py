"""A second reader of captions and scenes: does a text say what is said beside it?

It shares nothing with the code that cuts captions and scenes down but the ontologies' words: regular expressions and
bags of words instead of a reading of phrases. It is made to find what is wrong: an object, a number, a look, a state or
a relation that the text does not have.
"""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache

from terrasynth.prompts.scenes.ontology import PROFILES, load_ontology

# Words of no claim: how a sentence about an image is built, and that the image is taken from above.
FREE = {
    "a", "an", "the", "this", "that", "these", "those", "there", "here", "it", "them", "its", "is", "are",
    "has", "have", "was", "were", "of", "with", "and", "in", "on", "at", "to", "while", "which", "as", "so",
    "too", "also", "well", "can", "be", "seen", "from", "above", "straight", "directly", "overhead", "looking",
    "looks", "down", "shows", "show", "showing", "sees", "one", "taken", "made", "out", "together", "image",
    "scene", "area", "ground", "sampling", "distance", "resolution", "pixel", "up", "compose", "land",
}
FORMS: dict[str, str] = {form: noun for profile in PROFILES for noun, form in load_ontology(profile).countable.items()}
NOUNS = frozenset(FORMS.values())
compiled = cache(re.compile)  # there are more patterns than `re` keeps


@lru_cache(64)
def bag(text: str) -> set[str]:
    """Its words in the singular."""
    return {one(word) for word in re.findall(r"[a-z0-9.]*[a-z0-9]", text.lower())}


def several(noun: str) -> bool:
    return one(noun) != noun


@cache
def one(word: str) -> str:
    if word in FORMS or word in NOUNS:
        return FORMS.get(word, word)
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


SINGULAR = {one(word) for word in FREE}


@cache
def nouns(label: str) -> re.Pattern[str]:
    """The nouns that the class's objects can be, the longest first."""
    found = set()
    for profile in PROFILES:
        ontology = load_ontology(profile)
        for thing in ontology.classes[label].objects.values() if label in ontology.classes else ():
            for noun in thing.noun:
                found |= {noun, ontology.countable.get(noun, noun)}
    return re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, found), key=len, reverse=True)) + r")\b")


@cache
def places(label: str) -> re.Pattern[str]:
    """How things of the class lie."""
    found = {"beside", "around", "between", "next to", "on", "under", "over", "behind", "across", "through"}
    for profile in PROFILES:
        ontology = load_ontology(profile)
        for thing in ontology.classes[label].objects.values() if label in ontology.classes else ():
            found |= set(thing.relation) - {""}
    return re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, found), key=len, reverse=True)) + r")\b")


@cache
def main(label: str, profile: str) -> frozenset[str]:
    """What the class's first object is called: what "it" and "them" stand for."""
    ontology = load_ontology(profile)
    if label not in ontology.classes:
        return frozenset()
    nouns = next(iter(ontology.classes[label].objects.values())).noun
    return frozenset({*nouns, *(ontology.countable.get(noun, noun) for noun in nouns)})


@cache
def states(label: str) -> re.Pattern[str]:
    """What things of the class are or do, and turns that begin a sentence: no place in them is one of a thing."""
    found = {"straight down on", "from above", "from straight above", "next to each other", "close to each other"}
    for profile in PROFILES:
        ontology = load_ontology(profile)
        for thing in ontology.classes[label].objects.values() if label in ontology.classes else ():
            found |= set(thing.state) - {""}
        for each in ontology.conditions.values():
            found |= set(each) - {""}
    return re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, found), key=len, reverse=True)) + r")\b")


@cache
def borders(label: str) -> re.Pattern[str]:
    """What ends the words before a noun."""
    free = "|".join(FREE - {"a", "an", "the"})
    return re.compile(rf"{places(label).pattern}|[,.;:]|\b(?:{free}|slapping|surround)\b")


@lru_cache(64)
def phrases(text: str, label: str) -> set[tuple[str, str]]:
    """Pairs of a noun and a word that stands before it: numbers, sizes, colors."""
    text, found = text.lower(), set()
    end = 0
    for match in nouns(label).finditer(text):
        before = borders(label).split(text[end : match.start()])[-1].split()
        found |= {(match[0], word) for word in before if word not in FREE}
        end = match.end()
    return found


@lru_cache(64)
def lies(text: str, label: str, profile: str) -> set[tuple[str, str, str]]:
    """What lies how to what."""
    text, found = states(label).sub("", text.lower()), set()
    every = list(nouns(label).finditer(text))
    for match in places(label).finditer(text):
        if any(each.start() < match.end() and match.start() < each.end() for each in every):
            continue  # "a level crossing"
        before = [each[0] for each in every if each.end() <= match.start()]
        after = [each for each in every if each.start() >= match.end()]
        pronoun = re.match(r" (it|them)\b", text[match.end():])
        target = after[0][0] if after else ""
        if pronoun:  # what the class is about, in the number of the pronoun
            subjects = [each[0] for each in every if each[0] in main(label, profile)]
            agreeing = [each for each in subjects if several(each) == (pronoun[1] == "them")]
            target = (agreeing or subjects or [pronoun[1]])[0]
        turned = re.search(r"(?:^|, and |; )$", text[: match.start()]) and len(after) > 1 and re.search(
            r" (?:is|are) ", text[after[0].end() : after[1].start()])
        found.add((after[1][0] if turned else before[-1] if before else "", match[0], target))
    return found


def more_than(text: str, caption: str, label: str, profile: str) -> str:
    """What a caption says beyond a text, or nothing."""
    words = bag(caption) - bag(text) - FREE - SINGULAR
    if words:
        return f"words {sorted(words)}"
    looks = phrases(caption, label) - phrases(text, label)
    looks = {(noun, word) for noun, word in looks if not compiled(f"{noun} are [a-z ]*{word}").search(text.lower())}
    if looks:
        return f"looks {sorted(looks)}"
    where = {each for each in lies(caption, label, profile) if each[1] not in ("in", "at")}
    where -= lies(text, label, profile)
    return f"relations {sorted(where)}" if where else ""


def more_in_scene(text: str, scene: str, label: str) -> str:
    """What a scene says beyond a text, or nothing."""
    tree, said = json.loads(scene), text.lower()
    if not tree:
        return ""
    forms = {}
    for thing in tree["objects"]:
        noun = thing["noun"]
        known = [noun, *(load_ontology(profile).countable.get(noun, noun) for profile in PROFILES)]
        forms[thing["role"]] = there = [form for form in known if compiled(rf"\b{re.escape(form)}\b").search(said)]
        if not there:
            return f"object {noun!r}"
        if missing := [look for look in (*thing["attributes"], thing["state"]) if look and look not in said]:
            return f"{noun!r} is {missing[0]!r}"
        count = thing["count"]
        if count not in ("", "a", "an", "the", "no") and not any(
                compiled(rf"\b{count} (?:[\w' -]+ )?{re.escape(form)}\b").search(said) for form in there):
            return f"count {count!r} of {noun!r}"
        if thing["number"] == 1 and not any(
                compiled(rf"\b(?:an?|one) [^,.]*{re.escape(form)}\b").search(said) for form in there):
            return f"one {noun!r}"
    for relation in tree["relations"]:
        how = re.escape(relation["predicate"])
        subject, target = ("|".join(map(re.escape, forms.get(relation[key], ["\0"]))) for key in ("subject", "object"))
        forward = rf"\b(?:{subject})\b[^,;]*?\b{how} (?:it|them|[^,;]*?\b(?:{target}))\b"
        turned = rf"\b{how} [^,;]*?\b(?:{target})\b[^;]*? (?:is|are) [^,;]*?\b(?:{subject})\b"
        if not compiled(forward).search(said) and not compiled(turned).search(said):
            return f"relation {relation}"
    conditions = [tree.get(key) for key in ("season", "light", "place", "sensor")]
    if missing := [each for each in conditions if each and each not in said]:
        return f"condition {missing[0]!r}"
    if tree.get("gsd") and not re.search(rf"\b{tree['gsd']:g} m\b", said):
        return f"distance {tree['gsd']}"
    return ""


def beyond(text: str, captions: tuple[str, ...], scene: str, label: str, profile: str = "ucm") -> str:
    """What captions or scene say beyond the text, or nothing."""
    for caption in captions:
        if caption != text and (more := more_than(text, caption, label, profile)):
            return f"{text!r} / {caption!r}: {more}"
    more = more_in_scene(text, scene, label)
    return f"{text!r} / scene: {more}" if more else ""
