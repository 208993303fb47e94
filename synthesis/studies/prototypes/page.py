"""The page of an inspection: which prototypes are alive, what they answer to, and figures of all lookups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from terrasynth.eval.pages.page import Gallery, Notes, Page, Picture, Section, part_html
from terrasynth.eval.table import NONE, Cell, Table, bar
from terrasynth.synthesis.studies.prototypes.counters import ALIVE, SHUFFLES
from terrasynth.synthesis.studies.prototypes.figures import ShownPrototype
from terrasynth.synthesis.studies.prototypes.inspection import LEAST_WORDS

CONTEXT = 5  # tokens a side of a patch
ENOUGH_PICTURES = 3

DEFINITIONS = {
    "answer": "softmax(beta xi X^T), the weight that a prototype is read out with at a position; the answers of all "
    "prototypes of a lookup to one position sum to 1, and the even share is 1 / prototypes",
    "position": "every image token but the last, and every word's token of each different text; start, end and padding "
    "marks are left out; the position that reads image token i predicts token i + 1",
    "alive": f"answers at least one position with {ALIVE:g} even shares or more",
    "strongest": "gives the strongest answer of its lookup at one position or more",
    "entropy": "of the answers to one position, in nats, averaged over positions; exp(mean) is the effective number of "
    "prototypes that answer together; ln(prototypes) would be an even answer of all",
    "share": "the mean answer in a class (or to a word) over the sum of these means over all classes (or words), so "
    f"that chance is 1 / classes; words that were read less than {LEAST_WORDS} times are left out",
    "selective": f"the largest share is larger than under each of {SHUFFLES} shuffles of the classes over the images "
    f"(of the words over their places); by chance 1 in {SHUFFLES + 1}",
    "agreement": "over prototypes that are alive and selective for a class: the share of the texts of the favoured "
    "class that say the favoured word, beside what it would be with the favoured words dealt out at random",
    "shown": f"of each lookup in turn, among prototypes that reach {ALIVE:g} even shares in {ENOUGH_PICTURES} images "
    "or more, a selective one before others; then the best of every class before the second best of any; then the "
    "larger class share, then the larger answer",
}


def page_of(tree: dict[str, Any], shown: Sequence[ShownPrototype], entropy: str, prompts: bool) -> Page:
    """The page: which prototypes are alive, what they answer to, and figures of all lookups.

    Args:
        tree: The figures, as `to_json` gives them.
        shown: Prototypes to show.
        entropy: Address of the figure of the entropy.
        prompts: Whether every prompt is a class of its own.
    """
    lookups, group, n = tree["lookups"], "prompt" if prompts else "class", tree["n"]
    total, alive, strongest = (sum(each[name] for each in lookups) for name in ("prototypes", "alive", "strongest"))
    classes = [each["classes"] for each in lookups]
    effective = [each["entropy"]["image"]["effective"] for each in lookups]
    selective, by_chance, half, shuffled = (sum(each[name] for each in classes) for name in (
        "selective", "selective_by_chance", "half_in_one", "half_in_one_shuffled"))
    tokens = f"{n['image_tokens']:,} image tokens", f"{n['word_tokens']:,} word tokens"
    tiles = (
        (f"{100 * alive / total:.1f} %", "alive", f"of {total:,} prototypes in {len(lookups)} lookups alive; "
         f"{strongest:,} give the strongest answer somewhere"),
        (f"{min(effective):.0f} to {max(effective):.0f}", "effective", "answer one image token together, by lookup"),
        (f"{selective:,}", "selective", f"alive and selective for a {group}; {by_chance:.0f} would be by chance"),
        (f"{half:,}", f"half in one {group}", f"alive with half or more of their answer in one {group}; with names "
         f"shuffled {shuffled:.1f}"),
    )
    rule = (
        "Each row is one learned pattern. The patches are the places of its strongest answers, one an image; framed "
        f"is the image token that the position reads ({CONTEXT} x {CONTEXT} tokens around it are shown). The position "
        "predicts the next token, right of the frame or first in the next row; what lies right of the frame and below "
        "it had not been drawn when the prototype answered. The number under a patch is the answer. The bar is the "
        f"share of the {group} that the prototype favours, the mark chance ({classes[0]['chance']:.3f}). Words are "
        f"those that it favours among the prompts' words. Chosen by rule, not by hand: {DEFINITIONS['shown']}."
    )
    said = (
        "Agreement is the paper's claim in a figure: how often the word that a prototype favours in texts is said of "
        f"the {group} that it favours in images. Selectivity is that of the living prototypes; in small print what "
        f"chance gives: 1 in {SHUFFLES + 1}, or the figure with the names shuffled. {n['pictures']} images, "
        f"{tokens[0]}, {tokens[1]}; the head is asked about image tokens only. Every prototype with its largest "
        "answers is in `prototypes.json`."
    )
    about = (
        f"Measured on {n['pictures']} images that the model drew itself ({classes[0]['groups']} "
        f"{'prompts' if prompts else 'classes'}, first seed {tree['pictures'][0]['seed']}, guidance "
        f"{tree['guidance']:g}): {tokens[0]} and {tokens[1]} of {n['texts']} texts, read once more by the network in "
        "float32. No real image is involved."
    )
    nothing = f"No prototype reaches {ALIVE:g} even shares in {ENOUGH_PICTURES} images."
    chart = Picture(((entropy, "Entropy of the answers by lookup, for image tokens and words"),))
    return Page(
        f"{tree['model']}: prototypes", f"{alive:,} of {total:,} prototypes are alive",
        f"prototypes of {tree['model']}, revision {tree['revision']}", (
            Section("Prototypes", (rule, _prototypes(shown, group) if shown else nothing)),
            Section("Entropy of the answers", (
                Gallery((chart,), width=1000),
                "Points are means over positions, bars reach from the 10th to the 90th percentile. Low: few prototypes "
                "answer together. The dashed line is the entropy of an even answer of all.")),
            Section("Lookups", (_lookups(lookups, group), said)),
            Section("Definitions", (Notes(tuple(f"**{term}**: {words}" for term, words in DEFINITIONS.items())),)),
        ), lead=(about,), tiles=tiles)


def _prototypes(shown: Sequence[ShownPrototype], group: str) -> Table:
    rows = []
    for each in shown:
        words = ", ".join(f"{word} {share:.2f}" for word, share in each.words)
        none = "reads no words" if each.lookup == "head" else "none above chance"
        patches = Gallery(tuple(
            Picture(((patch.uri, f"image {patch.picture} ({patch.label}), image token {patch.token}"),),
                    (f"{patch.answer:.3f}",)) for patch in each.patches))
        rows.append((
            Cell(each.lookup, f"no. {each.number}", "name"),
            Cell(f"{each.label} {each.share:.2f}", "" if each.selective else "(within chance)",
                 picture=bar([("blue", 0, each.share), ("tick", each.chance, each.chance)])),
            words or none, Cell("", picture=part_html(patches)),
        ))
    return Table(("prototype", f"favoured {group}", "favoured words", "strongest answers"), tuple(rows))


def _lookups(lookups: Sequence[Mapping[str, Any]], group: str) -> Table:
    head = ("lookup", "beta", "alive", "strongest somewhere", "effective (image)", "effective (words)",
            f"selective for a {group} (null)", f"median share of one {group} (null)", f"half in one {group} (null)",
            "selective for a word (null)", "agreement (null)")
    return Table(head, tuple(
        (Cell(each["name"], kind="name"), f"{each['beta']:.3f}", f"{each['alive']} / {each['prototypes']}",
         str(each["strongest"]), *(f"{one['effective']:.1f}" if one else NONE for one in each["entropy"].values()),
         _with_null(each["classes"], "selective", "selective_by_chance", "d", ".0f"),
         _with_null(each["classes"], "median_share", "median_share_shuffled", ".3f", ".3f"),
         _with_null(each["classes"], "half_in_one", "half_in_one_shuffled", "d", ".1f"),
         _with_null(each["words"], "selective", "selective_by_chance", "d", ".0f"),
         _with_null(each["agreement"], "share", "by_chance", ".3f", ".3f"))
        for each in lookups))


def _with_null(found: Mapping[str, Any] | None, name: str, null: str, form: str, null_form: str) -> Cell:
    if found is None or found[name] is None:
        return Cell(NONE)
    return Cell(f"{found[name]:{form}}", f"({found[null]:{null_form}})")
