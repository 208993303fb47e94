"""What is said of prototypes: against a count by hand, planted truths, and what a shuffle gives."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from terrasynth.synthesis.generators.hopfield.lookup import PATTERN_STD, HopfieldLookup
from terrasynth.synthesis.studies.prototypes.counters import (
    ALIVE,
    SHUFFLES,
    Groups,
    LookupCounter,
    Selectivity,
    answers,
)
from terrasynth.synthesis.studies.prototypes.figures import THUMB, token_patch
from terrasynth.synthesis.studies.prototypes.inspection import (
    Word,
    agreement,
    draw_tokens,
    inspect_prototypes,
    lookups_of,
    read_words,
)
from terrasynth.synthesis.studies.prototypes.report import KIND, choose, decode, favourite_words, write_prototypes
from tests.tiny_mhn import tiny_mhn

PROMPTS = ["boats in the harbor", "boats in the harbor", "a river and a bridge", "sparse forest", "the river"]
LABELS = ["harbor", "harbor", "river", "forest", "river"]
SEEDS = [3, 4, 5, 6, 7]
PROTOTYPES = 40


def sharp(pipeline):
    """Untrained patterns are short and answer evenly; trained ones are not."""
    with torch.no_grad():
        for lookup in lookups_of(pipeline.transformer).values():
            lookup.patterns.div_(PATTERN_STD)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return sharp(tiny_mhn(beta=0.5, prototypes=PROTOTYPES, retrieval_steps=2))


@pytest.fixture(scope="module")
def inspection(pipeline):
    return inspect_prototypes(pipeline, PROMPTS, LABELS, SEEDS, guidance=2.0)


@pytest.fixture(scope="module")
def by_hand(pipeline, inspection):
    """Answers of every lookup at every position of all pictures, from one plain call."""
    states, handles = {}, []
    for name, lookup in lookups_of(pipeline.transformer).items():
        handles.append(lookup.register_forward_hook(lambda _, given, found, name=name: states.update({name: given[0]})))
    with torch.no_grad():
        pipeline.transformer(pipeline.encode_prompt(PROMPTS), inspection.tokens.flatten(1)[:, :-1])
        found = {}
        for name, lookup in lookups_of(pipeline.transformer).items():
            first = torch.softmax(states[name] @ lookup.patterns.T * lookup.beta, -1) @ lookup.patterns
            found[name] = torch.softmax(first @ lookup.patterns.T * lookup.beta, -1)
    for handle in handles:
        handle.remove()
    return found


def _counted(inspection, found):
    """Answers to image tokens (N, T, P) and to words (M, P)."""
    length = inspection.tokens[0].numel() - 1
    image = found[:, -length:]
    if found.shape[1] == length + 1:
        return image, found[:0, 0]
    return image, torch.stack([found[each.picture, each.position] for each in inspection.words])


def test_the_answers_are_what_the_lookup_reads_its_values_out_with():
    lookup = HopfieldLookup(12, 30, out_width=5, beta=1.5, steps=3)
    state = torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(answers(lookup, state) @ lookup.values, lookup(state))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_figures_against_a_count_by_hand(inspection, by_hand, which):
    lookup = inspection.lookups[which]
    assert lookup.name == ["block 1", "block 2", "head"][which]
    image, words = _counted(inspection, by_hand[lookup.name])
    everything = torch.cat([image.flatten(0, 1), words])
    torch.testing.assert_close(torch.from_numpy(lookup.largest), everything.amax(0))
    torch.testing.assert_close(torch.from_numpy(lookup.wins), everything.argmax(1).bincount(minlength=PROTOTYPES))
    reach = (image.amax(1) >= ALIVE / PROTOTYPES).sum(0)
    torch.testing.assert_close(torch.from_numpy(lookup.reach), reach)
    assert 0 < lookup.alive.sum() < PROTOTYPES
    for entropy, found in ((lookup.image_entropy, image.flatten(0, 1)), (lookup.word_entropy, words)):
        if len(found):
            one_each = -(found * found.clamp_min(1e-30).log()).sum(1)
            assert entropy.n == len(found)
            assert entropy.mean == pytest.approx(one_each.mean().item(), rel=1e-4)
            width = np.log(PROTOTYPES) / 400
            low, high = np.quantile(one_each, [0.1, 0.9], method="inverted_cdf")
            assert (entropy.low, entropy.high) == pytest.approx((low, high), abs=width)
    means = torch.stack([image[[place for place, own in enumerate(LABELS) if own == label]].flatten(0, 1).mean(0)
                         for label in lookup.classes.names])
    assert lookup.classes.names == ("forest", "harbor", "river")
    torch.testing.assert_close(torch.from_numpy(lookup.classes.shares).T, means / means.sum(0))
    best, row = image.amax(1).max(0)
    peaks = lookup.image_peaks
    torch.testing.assert_close(torch.from_numpy(peaks.answers[:, 0]), best)
    np.testing.assert_array_equal(peaks.rows[:, 0], row)
    torch.testing.assert_close(
        image[peaks.rows[:, 1], peaks.positions[:, 1], range(PROTOTYPES)], torch.from_numpy(peaks.answers[:, 1])
    )
    assert (np.diff(peaks.answers) <= 0).all()
    assert all(len(set(rows)) == len(rows) == len(PROMPTS) for rows in peaks.rows.tolist())


def test_the_head_reads_no_words(inspection):
    head = inspection.lookups[-1]
    assert head.words is head.word_entropy is head.word_peaks is None


def test_word_shares_against_a_count_by_hand(pipeline):
    prompts = ["the harbor", "the river", "the bridge", "river", "a river"]
    inspection = inspect_prototypes(pipeline, prompts, prompts, range(5))
    states = {}
    lookup = pipeline.transformer.layers[0].lookup
    handle = lookup.register_forward_hook(lambda _, given, found: states.update(given=given[0]))
    with torch.no_grad():
        pipeline.transformer(pipeline.encode_prompt(prompts), inspection.tokens.flatten(1)[:, :-1])
        found = answers(lookup, states["given"])
    handle.remove()
    figures = inspection.lookups[0].words
    assert figures.names == ("river", "the")
    means = torch.stack([
        torch.stack([found[0, 1], found[1, 1], found[2, 1]]).mean(0) if word == "the" else
        torch.stack([found[1, 2], found[3, 1], found[4, 2]]).mean(0)
        for word in figures.names
    ])
    torch.testing.assert_close(torch.from_numpy(figures.shares).T, means / means.sum(0))


def test_the_batch_size_changes_nothing(pipeline, inspection):
    other = inspect_prototypes(pipeline, PROMPTS, LABELS, SEEDS, guidance=2.0, batch=2)
    assert torch.equal(other.tokens, inspection.tokens)
    for one, two in zip(inspection.lookups, other.lookups, strict=True):
        np.testing.assert_allclose(one.largest, two.largest, rtol=1e-4)
        np.testing.assert_array_equal(one.image_peaks.rows[:, 0], two.image_peaks.rows[:, 0])
        np.testing.assert_allclose(one.classes.shares, two.classes.shares, rtol=1e-3)
        np.testing.assert_allclose(one.classes.shuffled, two.classes.shuffled, rtol=1e-3)
        assert one.image_entropy.mean == pytest.approx(two.image_entropy.mean, rel=1e-4)


def test_reading_leaves_no_hook_behind(pipeline, inspection):
    assert not any(lookup._forward_pre_hooks for lookup in lookups_of(pipeline.transformer).values())


def test_the_pictures_are_those_of_the_pipeline(pipeline, inspection):
    noise = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    drawn = pipeline(PROMPTS, guidance_scale=2.0, generator=noise, output_type="np").images
    np.testing.assert_array_equal(decode(pipeline, inspection.tokens), (drawn * 255).round().astype(np.uint8))
    assert torch.equal(draw_tokens(pipeline, PROMPTS[3:], SEEDS[3:], 2.0), inspection.tokens[3:])


def test_words_are_whole_and_each_text_is_read_once(pipeline):
    prompts = ["a harborside river", "a harborside river", "the river"]
    words = read_words(pipeline, prompts, pipeline.encode_prompt(prompts))
    first = [each for each in words if each.picture == 0]
    assert {each.picture for each in words} == {0, 2}
    assert list(dict.fromkeys(each.word for each in first)) == ["a", "harborside", "river"]
    pieces = [each.piece for each in first if each.word == "harborside"]
    assert len(pieces) > 1
    assert "".join(pieces) == "harborside"
    assert [each.position for each in first] == list(range(1, 1 + len(first)))
    cut = read_words(pipeline, ["river " * 30], pipeline.encode_prompt(["river " * 30]))
    assert [each.word for each in cut] == ["river"] * 10


def test_a_planted_word_is_found():
    pipeline = tiny_mhn(prototypes=PROTOTYPES, beta=0.5)
    block, number = pipeline.transformer.layers[0], 17
    starts, words = ("the", "two", "several", "some"), ("river", "harbor", "trees")
    prompts = [f"{start} {word}" for start in starts for word in words]
    text = pipeline.encode_prompt([f"the {word}" for word in words])
    with torch.no_grad():
        states = block.lookup_norm(pipeline.transformer.embed_text(text))[:, 2]
        block.lookup.patterns[number] = states[1] - states.mean(0)
    lookup = inspect_prototypes(pipeline, prompts, ["x"] * 12, range(12)).lookups[0]
    assert favourite_words(lookup.words, number)[0][0] == "harbor"
    assert lookup.words.selective[number]
    assert lookup.alive[number]
    assert lookup.words.largest[number] > 2 * lookup.words.chance


def _counter(patterns, labels, beta=1.0):
    lookup = HopfieldLookup(patterns.shape[1], len(patterns), beta=beta)
    with torch.no_grad():
        lookup.patterns.copy_(patterns)
    shuffling = torch.Generator().manual_seed(0)
    return LookupCounter(lookup, 4, Groups(labels, 1, shuffling), Groups([], 1, shuffling),
                         torch.zeros(0, 2, dtype=torch.int64), keep=3)


def test_a_planted_class_a_common_prototype_and_a_dead_one():
    labels = ["beach", "river", "forest"] * 8
    patterns = torch.zeros(16, 16)
    patterns[:4] = 20 * torch.eye(16)[:4]
    counter = _counter(patterns, labels)
    states = torch.zeros(24, 4, 16)
    for picture in range(24):
        states[picture, :2, picture % 3] = 1  # half of the positions say the class
        states[picture, 2:, 3] = 1  # the others are the same everywhere
    counter.hook(counter.lookup, (states,))
    figures = counter.figures("block 1")
    assert [figures.classes.names[number] for number in figures.classes.favourite[:3]] == ["beach", "river", "forest"]
    assert figures.classes.largest[:3] == pytest.approx([1, 1, 1], abs=1e-5)
    assert figures.classes.selective[:3].all()
    assert figures.classes.largest[3] == pytest.approx(figures.classes.chance, abs=1e-5)
    assert figures.alive.tolist() == [True] * 4 + [False] * 12
    assert figures.wins.tolist() == [16, 16, 16, 48] + [0] * 12
    assert figures.reach.tolist() == [8, 8, 8, 24] + [0] * 12
    assert figures.image_entropy.effective == pytest.approx(1, abs=1e-4)


def test_agreement_of_words_and_classes(inspection):
    """Three prototypes favour the word of their class, or each the word of the next one."""
    prompts = ["river", "river stone", "beach", "beach sand", "forest", "beach"]
    labels = ["river", "river", "beach", "beach", "forest", "beach"]
    words = [(0, "river"), (1, "river"), (1, "stone"), (2, "beach"), (3, "beach"), (3, "sand"), (4, "forest")]
    names = ("beach", "forest", "river")

    def favouring(names, favourites):
        shares = np.eye(len(names), dtype=np.float32)[[names.index(each) for each in favourites]]
        return Selectivity(names, shares, np.full((len(favourites), SHUFFLES), 0.5, np.float32))

    read = replace(inspection, prompts=tuple(prompts), labels=tuple(labels),
                   words=tuple(Word(picture, 1, word, word) for picture, word in words))
    lookup = replace(inspection.lookups[0], largest=np.ones(3, np.float32), classes=favouring(names, names))
    known = ("beach", "forest", "river", "sand", "stone")
    together = agreement(read, replace(lookup, words=favouring(known, names)))
    assert (together.n, together.share, together.chance) == (3, 1, pytest.approx(1 / 3))
    apart = agreement(read, replace(lookup, words=favouring(known, ["forest", "river", "beach"])))
    assert (apart.share, apart.chance) == (0, pytest.approx(1 / 3))
    half = agreement(read, replace(lookup, words=favouring(known, ["sand", "forest", "stone"])))
    assert half.share == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert agreement(read, replace(lookup, words=None)) is None


def test_an_even_answer_has_the_largest_entropy():
    counter = _counter(torch.zeros(16, 8), ["a", "b"])
    counter.hook(counter.lookup, (torch.ones(2, 4, 8),))
    figures = counter.figures("block 1")
    assert figures.image_entropy.effective == pytest.approx(16)
    assert not figures.alive.any()


def test_what_no_class_decides_is_rarely_selective():
    generator = torch.Generator().manual_seed(0)
    counter = _counter(torch.randn(400, 64, generator=generator), ["a", "b", "c"] * 10)
    counter.hook(counter.lookup, (torch.randn(30, 4, 64, generator=generator),))
    assert 0 < counter.figures("block 1").classes.selective.mean() < 0.1


def test_one_group_is_never_selective():
    counter = _counter(torch.randn(10, 8, generator=torch.Generator().manual_seed(0)), ["a"] * 5)
    counter.hook(counter.lookup, (torch.ones(5, 4, 8),))
    assert not counter.figures("block 1").classes.selective.any()


@pytest.mark.parametrize(("token", "left", "top"), [(0, 0, 0), (8, 0, 1), (27, 2, 2), (30, 3, 2), (63, 4, 4)])
def test_the_frame_is_around_the_token(token, left, top):
    generator = np.random.default_rng(0)
    blocks = generator.integers(60, 200, (8, 8, 3), dtype=np.uint8)
    picture = blocks.repeat(4, 0).repeat(4, 1)
    patch = token_patch(picture, token, side=8, context=5)
    assert patch.shape == (THUMB, THUMB, 3)
    size = THUMB // 5
    own = patch[top * size : (top + 1) * size, left * size : (left + 1) * size]
    assert all((edge == 255).all() for edge in (own[0], own[-1], own[:, 0], own[:, -1]))
    np.testing.assert_array_equal(own[size // 2, size // 2], blocks[token // 8, token % 8])


def test_the_rule_takes_lookups_in_turn_and_wants_several_pictures(inspection):
    chosen = choose(inspection, 7)
    assert len(chosen) == 7
    assert {which for which, _ in chosen} == {0, 1, 2}
    assert [which for which, _ in chosen] == sorted(which for which, _ in chosen)
    for which, lookup in enumerate(inspection.lookups):
        own = [number for place, number in chosen if place == which]
        assert (lookup.reach[own] >= 3).all()
        classes = lookup.classes
        able = np.flatnonzero((lookup.reach >= 3) & classes.selective)
        best = {max(able[classes.favourite[able] == label], key=lambda number: (classes.largest[number],
                                                                               lookup.largest[number]))
                for label in set(classes.favourite[able])}
        # Three classes and at most three rows a lookup: no class comes twice while another is waiting.
        assert best <= set(own) if len(own) >= len(best) else set(own) <= best


def test_the_page_needs_nothing_beside_it_and_is_the_same_again(pipeline, inspection, tmp_path):
    page = write_prototypes(tmp_path, inspection, pipeline, "tiny", "0123", count=9)
    text = page.read_text()
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', text) == []
    assert text.count("<tr>") == 1 + 9 + 1 + len(inspection.lookups)
    tree = json.loads((tmp_path / "prototypes.json").read_text())
    assert (tree["kind"], tree["model"], tree["revision"], len(tree["shown"])) == (KIND, "tiny", "0123", 9)
    assert tree["n"] == {"pictures": 5, "image_tokens": 75, "texts": 4, "word_tokens": len(inspection.words)}
    assert [row["seed"] for row in tree["pictures"]] == SEEDS
    for found, lookup in zip(tree["lookups"], inspection.lookups, strict=True):
        assert found["alive"] == lookup.alive.sum() == sum(each["alive"] for each in found["each"])
        assert [each["prototype"] for each in found["each"]] == list(range(PROTOTYPES))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"index.html", "prototypes.json", "prototypes.png", "entropy.png"}
    write_prototypes(tmp_path, inspection, pipeline, "tiny", "0123", count=9)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_network_that_answers_evenly_has_nothing_to_show(tmp_path):
    pipeline = tiny_mhn(beta=1e-6)
    (tmp_path / "prototypes.png").write_bytes(b"of an earlier inspection")
    found = inspect_prototypes(pipeline, ["a river"], ["river"], [0])
    page = write_prototypes(tmp_path, found, pipeline, "tiny", "0123", count=9)
    assert "No prototype reaches 2 even shares" in page.read_text()
    assert not (tmp_path / "prototypes.png").exists()


def test_one_of_each_a_picture():
    with pytest.raises(ValueError, match="2 prompts, 1 labels and 2 seeds"):
        inspect_prototypes(tiny_mhn(), ["a", "b"], ["a"], [0, 1])
