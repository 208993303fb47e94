"""The network: with a cache as without, causal, and the same after saving and compiling."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from terrasynth.synthesis.generators.hopfield.transformer import (
    EMBEDDING_STD,
    HopfieldTransformer,
    causal_attention,
    rotary_table,
    rotate,
)
from tests.tiny_mhn import TEXT_LENGTH, tiny_transformer

VOCABULARY, CODES, TEXT, SIDE = 20, 16, 5, 3
OPTIONS = [
    {"positions": positions, "attention_values": values, "retrieval_steps": steps, "separate_values": separate}
    for positions, values, steps, separate in itertools.product(
        ("axial", "rotary"), (True, False), (1, 2), (True, False)
    )
] + [{"heads": 4, "key_value_heads": shared, "positions": "rotary", "attention_values": values}
     for shared in (1, 2) for values in (True, False)]


def _network(**options):
    return tiny_transformer(VOCABULARY, codes=CODES, text_length=TEXT, side=SIDE, **options)


def _inputs(n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(VOCABULARY, (n, TEXT), generator=generator),
            torch.randint(CODES, (n, SIDE**2), generator=generator))


def _stepped(network, text, tokens, step=None, rows=None):
    """Logits (N, side**2, K), one cached step after the other."""
    logits, cache = network.prefill(text)
    if rows is not None:
        logits, cache = logits[rows], cache.select(rows)
    step, numbers = step or network.step, torch.arange(SIDE**2)
    later = [step(tokens[:, i], numbers[i:i + 1], cache) for i in range(SIDE**2 - 1)]
    return torch.stack([logits, *later], 1)


def _name(options):
    return "-".join(f"{value}" for value in options.values())


@pytest.mark.parametrize("options", OPTIONS, ids=_name)
def test_logits_are_the_same_with_a_cache_and_without_at_every_position(options):
    network, (text, tokens) = _network(**options), _inputs()
    whole = network(text, tokens[:, :-1])  # records gradients: the products that training uses
    assert whole.shape == (3, SIDE**2, CODES)
    with torch.no_grad():
        assert torch.allclose(network(text, tokens[:, :-1]), whole, atol=1e-5)
        assert torch.allclose(_stepped(network, text, tokens), whole, atol=1e-5)
        for n in (0, 1, SIDE + 1):
            assert torch.allclose(network(text, tokens[:, :n]), whole[:, :n + 1], atol=1e-5)


def test_pictures_of_one_text_go_on_from_one_prefix():
    network, (text, tokens) = _network(), _inputs(5)
    rows = torch.tensor([0, 1, 0, 0, 1])
    with torch.no_grad():
        expected = network(text[rows], tokens[:, :-1])
        assert torch.allclose(_stepped(network, text[:2], tokens, rows=rows), expected, atol=1e-5)


def test_the_cache_has_its_final_shape_from_the_start():
    network, (text, tokens) = _network(), _inputs()
    with torch.no_grad():
        _, cache = network.prefill(text)
        shape = (2, 3, 2, network.length, 16)
        assert network.length == TEXT + SIDE**2 - 1
        assert cache.keys.shape == cache.values.shape == shape
        assert not cache.keys[:, :, :, TEXT:].any()
        network.step(tokens[:, 0], torch.tensor([0]), cache)
        assert cache.keys.shape == shape
        assert cache.keys[:, :, :, TEXT].any()
        assert not cache.keys[:, :, :, TEXT + 1:].any()


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]], ids=_name)
def test_a_token_changes_nothing_before_itself_and_something_after(options):
    network, (text, tokens) = _network(**options), _inputs()
    with torch.no_grad():
        before = network(text, tokens[:, :-1])
        for j in range(SIDE**2 - 1):
            changed = tokens.clone()
            changed[:, j] = (changed[:, j] + 1) % CODES
            difference = (network(text, changed[:, :-1]) - before).abs().amax((0, 2))
            assert difference[:j + 1].max() < 1e-6
            assert difference[j + 1:].min() > 1e-3


@pytest.mark.parametrize("positions", ["axial", "rotary"])
def test_every_word_reaches_every_image_token(positions):
    network, (text, tokens) = _network(positions=positions), _inputs()
    with torch.no_grad():
        before = network(text, tokens[:, :-1])
        for t in range(TEXT):
            changed = text.clone()
            changed[:, t] = (changed[:, t] + 1) % VOCABULARY
            assert (network(changed, tokens[:, :-1]) - before).abs().amax((0, 2)).min() > 1e-4


@pytest.mark.parametrize("positions", ["axial", "rotary"])
def test_the_place_of_a_token_matters(positions):
    network, (text, tokens) = _network(positions=positions), _inputs()
    swapped = tokens.clone()
    swapped[:, [0, 1]] = tokens[:, [1, 0]]
    differ = (tokens[:, 0] != tokens[:, 1]).nonzero()[:, 0]
    assert len(differ)
    with torch.no_grad():
        a, b = network(text, tokens[:, :-1]), network(text, swapped[:, :-1])
    assert (a - b)[differ, 3:].abs().max() > 1e-3


def test_predict_text_adds_the_text_vocabulary_behind_the_image_tokens():
    text, tokens = _inputs()
    with torch.no_grad():
        plain, both = _network(), _network(predict_text=True)
        hidden = both.hidden(text, tokens[:, :-1])
        assert hidden.shape == (3, TEXT + SIDE**2 - 1, 32)
        assert plain.logits(hidden).shape[-1] == CODES
        assert both.logits(hidden).shape[-1] == CODES + VOCABULARY
        assert torch.equal(both.image_logits(hidden), both.logits(hidden)[..., :CODES])
        assert both(text, tokens[:, :-1]).shape == (3, SIDE**2, CODES)
        assert torch.allclose(_stepped(both, text, tokens), both(text, tokens[:, :-1]), atol=1e-5)


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1], {"predict_text": True, "beta": 0.3, "learn_beta": True}])
def test_a_saved_network_gives_the_same_logits(tmp_path, options):
    network, (text, tokens) = _network(**options), _inputs()
    network.save_pretrained(tmp_path, safe_serialization=True)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["diffusion_pytorch_model.safetensors"]
    again = HopfieldTransformer.from_pretrained(tmp_path)
    ours, theirs = ({k: v for k, v in each.config.items() if not k.startswith("_")} for each in (network, again))
    assert ours == theirs
    with torch.no_grad():
        assert torch.equal(again(text, tokens[:, :-1]), network(text, tokens[:, :-1]))
        assert torch.equal(_stepped(again, text, tokens), _stepped(network, text, tokens))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("positions", ["axial", "rotary"])
def test_a_step_compiles_whole_and_once_for_all_positions(backend, positions):
    network, (text, tokens) = _network(positions=positions), _inputs()
    torch.compiler.reset()
    try:
        step = torch.compile(network.step, fullgraph=True, backend=backend)
        with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
            assert torch.allclose(_stepped(network, text, tokens, step), network(text, tokens[:, :-1]), atol=1e-5)
    finally:
        torch.compiler.reset()


def test_attention_in_training_is_scaled_dot_product_attention():
    inputs = [torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    weight = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(3))
    results = []
    for attention in (causal_attention, lambda *qkv: F.scaled_dot_product_attention(*qkv, is_causal=True)):
        leaves = [each.clone().requires_grad_() for each in inputs]
        found = attention(*leaves)
        (found * weight).sum().backward()
        results.append([found.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(causal_attention(*inputs), results[0][0], atol=1e-5)


def test_rotation_keeps_lengths_and_scores_see_differences_of_rows_and_columns_only():
    side, text_length, width = 4, 3, 16
    table = rotary_table(text_length, side, width).double()
    assert table.shape == (2, text_length + side**2, width // 2)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, width, generator=generator, dtype=torch.float64)
    everywhere = (1, 1, text_length + side**2, width)
    turned = rotate(query.expand(everywhere), table), rotate(key.expand(everywhere), table)
    for plain, each in zip((query, key), turned, strict=True):
        assert torch.allclose(each.norm(dim=-1), plain.norm(dim=-1).expand(everywhere[:-1]))
    scores = (turned[0] @ turned[1].transpose(-1, -2))[0, 0]
    places = [(t - text_length, t - text_length) for t in range(text_length)]
    places += [(i // side, i % side) for i in range(side**2)]
    by_difference = {}
    for (i, (row, column)), (j, (other_row, other_column)) in itertools.product(enumerate(places), repeat=2):
        by_difference.setdefault((row - other_row, column - other_column), []).append(scores[i, j].item())
    assert len(by_difference) > (2 * side - 1) ** 2
    for values in by_difference.values():
        assert max(values) - min(values) < 1e-5
    assert by_difference[0, 0][0] == pytest.approx((query * key).sum().item())
    means = [values[0] for values in by_difference.values()]
    assert len({round(value, 5) for value in means}) == len(means)  # and they do tell all of them apart


@pytest.mark.parametrize("shared", [1, 2])
def test_heads_that_share_a_key_are_heads_with_equal_keys(shared):
    torch.manual_seed(0)
    few, (text, tokens) = _network(heads=4, key_value_heads=shared, attention_values=True), _inputs()
    every = _network(heads=4, attention_values=True)
    weights, width = few.state_dict(), every.config.head_width
    for name in [name for name in weights if name.endswith("attention.project.weight")]:
        query, key, value = weights[name].split([4 * width, shared * width, shared * width])
        weights[name] = torch.cat([query, *(each.unflatten(0, (shared, width)).repeat_interleave(4 // shared, 0)
                                            .flatten(0, 1) for each in (key, value))])
    every.load_state_dict(weights)
    assert torch.allclose(few(text, tokens[:, :-1]), every(text, tokens[:, :-1]), atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(few(text, tokens[:, :-1]), every(text, tokens[:, :-1]), atol=1e-5)
        _, small = few.prefill(text)
        _, large = every.prefill(text)
    assert small.keys.shape[2] == shared
    assert large.keys.numel() == 4 // shared * small.keys.numel()


@pytest.mark.parametrize("shared", [0, 3, 8])
def test_key_value_heads_that_do_not_divide_the_heads_are_named(shared):
    with pytest.raises(ValueError, match=f"key_value_heads={shared} does not divide heads=4"):
        _network(heads=4, key_value_heads=shared)


def test_unknown_positions_are_named():
    with pytest.raises(ValueError, match="positions='learned' is unknown; use axial or rotary"):
        _network(positions="learned")


def test_no_blocks_are_an_error_where_there_is_nothing_to_remember():
    text, _ = _inputs()
    with pytest.raises(ValueError, match="the network has no blocks"):
        _network(blocks=0).prefill(text)


def test_the_setting_of_the_paper():
    network = HopfieldTransformer(text_vocabulary=100, codes=128, width=512, blocks=10, prototypes=1000)
    lookups = [*(block.lookup for block in network.layers), network.head]
    assert len(lookups) == 11
    for lookup in lookups:
        assert lookup.patterns.shape == (1000, 512)
        assert lookup.beta.item() == pytest.approx(1 / math.sqrt(512))
        assert not lookup.log_beta.requires_grad
        assert lookup.steps == 1
    assert network.head.values.shape == (1000, 128)
    assert all(block.attention.parts == [8, 8] for block in network.layers)  # keys are read out as values


def test_each_lookup_learns_a_beta_of_its_own():
    network, (text, tokens) = _network(learn_beta=True, beta=0.2), _inputs()
    network(text, tokens[:, :-1]).square().sum().backward()
    betas = [network.layers[0].lookup.log_beta, network.layers[1].lookup.log_beta, network.head.log_beta]
    assert all(beta.exp().item() == pytest.approx(0.2) for beta in betas)
    assert len({beta.grad.item() for beta in betas}) == 3
    assert all(beta.grad.abs() > 0 for beta in betas)


def test_dropout_acts_in_training_only():
    network, (text, tokens) = _network(dropout=0.5), _inputs()
    with torch.no_grad():
        assert torch.equal(network(text, tokens[:, :-1]), network(text, tokens[:, :-1]))
        network.train()
        assert not torch.allclose(network(text, tokens[:, :-1]), network(text, tokens[:, :-1]), atol=1e-3)


def test_image_tokens_start_as_alike_as_their_codes():
    """Random Fourier features: their products are a Gaussian kernel of the codes (Rahimi & Recht, 2007)."""
    codebook = 5 + 3 * torch.randn(CODES, 2, generator=torch.Generator().manual_seed(0))
    network = _network(width=4096, blocks=0, prototypes=2)
    network.embed_codebook(codebook, torch.Generator().manual_seed(0))
    features = network.image_embedding.weight.detach() / EMBEDDING_STD
    scaled = (codebook - codebook.mean(0)) / codebook.std()
    kernel = torch.exp(-torch.cdist(scaled, scaled).square() / 2)
    assert torch.allclose(features @ features.T / 4096, kernel, atol=0.1)
    assert network.image_embedding.weight.requires_grad
    again = _network(width=4096, blocks=0, prototypes=2, seed=1)
    again.embed_codebook(codebook, torch.Generator().manual_seed(0))
    assert torch.equal(again.image_embedding.weight, network.image_embedding.weight)


def test_a_step_reads_no_more_of_the_cache_than_it_needs():
    network = tiny_transformer(50)
    text, tokens = torch.randint(50, (2, TEXT_LENGTH)), torch.randint(CODES, (2, network.config.side**2))
    _, whole = network.prefill(text)
    cut = whole.select(torch.arange(2))
    for number in range(network.config.side**2 - 1):
        window = network.window(number)
        assert TEXT_LENGTH + number + 1 <= window <= network.length
        where = torch.tensor([number])
        with torch.no_grad():
            expected = network.step(tokens[:, number], where, whole)
            found = network.step(tokens[:, number], where, cut, window)
        assert torch.allclose(found, expected, atol=1e-5)
    assert network.window(0) < network.length
