"""The decoder of captions: what it keeps is what it would compute anew, and a beam that sees all finds the best."""

from itertools import product

import pytest
import torch

from terrasynth.eval.models.caption_network import END, PAD, SPECIAL, UNKNOWN, CaptionerConfig, CaptionerModel

WORDS, LENGTH = 3, 3
FIRST = SPECIAL + 2


def network(words=WORDS, length=LENGTH, seed=0, spread=2.0):
    """Random weights that are large enough to have an opinion."""
    config = CaptionerConfig(features=6, places=4, width=8, layers=2, heads=2, hidden=16, length=length,
                             styles=("one", "two"), words=[f"w{number}" for number in range(words)])
    torch.manual_seed(seed)
    model = CaptionerModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(spread)
        model.place.normal_()
        model.bias.normal_()
    return model


def grids(count=5, seed=1):
    return torch.randn(count, 4, 6, generator=torch.Generator().manual_seed(seed))


def chance(model, grid, style, caption):
    """Log-probability of a caption, each word given those before it; by the whole network, without what is kept."""
    told = torch.tensor([[SPECIAL + style, *caption]])
    logits = model(grid[None], told)[0]
    logits[:, [PAD, UNKNOWN, SPECIAL, SPECIAL + 1]] = -torch.inf
    chances = logits.log_softmax(-1)
    chances[0, END] = -torch.inf
    wanted = [*caption, END] if len(caption) < LENGTH else list(caption)
    return sum(chances[place, token].item() for place, token in enumerate(wanted)), len(wanted)


@pytest.mark.parametrize("power", [0.0, 0.7])
@pytest.mark.parametrize("style", [0, 1])
def test_a_beam_that_follows_everything_finds_the_best_of_all_captions(style, power):
    model, seen = network(), grids()
    all_of = [caption for count in range(1, LENGTH + 1) for caption in product(range(FIRST, FIRST + WORDS),
                                                                              repeat=count)]
    for grid, found in zip(seen, model.write(seen, style, beams=60, length_power=power), strict=True):
        value, length = zip(*(chance(model, grid, style, caption) for caption in all_of), strict=True)
        scores = [one / many**power for one, many in zip(value, length, strict=True)]
        assert tuple(found) == all_of[max(range(len(all_of)), key=scores.__getitem__)]


def test_one_beam_takes_the_most_probable_word_each_time():
    model, seen = network(words=20, length=12), grids()
    for grid, found in zip(seen, model.write(seen, beams=1), strict=True):
        said = []
        while len(said) < 12:
            logits = model(grid[None], torch.tensor([[SPECIAL, *said]]))[0, -1]
            logits[[PAD, UNKNOWN, SPECIAL, SPECIAL + 1]] = -torch.inf
            if not said:
                logits[END] = -torch.inf
            if (token := int(logits.argmax())) == END:
                break
            said.append(token)
        assert found == said


def test_more_beams_find_no_worse_captions():
    model, seen = network(words=20, length=LENGTH), grids(20)
    few, many = (model.write(seen, beams=count, length_power=0.0) for count in (1, 40))
    better = [chance(model, grid, 0, b)[0] - chance(model, grid, 0, a)[0] for grid, a, b in
              zip(seen, few, many, strict=True)]
    assert min(better) > -1e-5
    assert max(better) > 0.01


def test_an_image_is_captioned_alike_alone_and_among_others():
    model, seen = network(words=20, length=12), grids(6)
    assert model.write(seen) == [model.write(grid[None])[0] for grid in seen]


def test_several_texts_of_an_image_are_read_as_each_by_itself():
    model, seen = network(words=20, length=12), grids(2)
    tokens = torch.randint(FIRST, FIRST + 20, (6, 5), generator=torch.Generator().manual_seed(0))
    alone = torch.cat([model(seen[[row // 3]], tokens[[row]]) for row in range(6)])
    assert torch.allclose(model(seen, tokens), alone, atol=1e-5)


def test_log_likelihood_is_the_mean_over_words_and_the_end():
    model, seen = network(words=5, length=12), grids(2)
    tokens = torch.tensor([[SPECIAL, FIRST, FIRST + 1, END], [SPECIAL, FIRST + 4, END, PAD]])
    chances = [model(seen[[row]], tokens[[row], :-1])[0].log_softmax(-1) for row in (0, 1)]
    wanted = [(chances[0][0, FIRST] + chances[0][1, FIRST + 1] + chances[0][2, END]) / 3,
              (chances[1][0, FIRST + 4] + chances[1][1, END]) / 2]
    assert torch.allclose(model.log_likelihood(seen, tokens), torch.stack(wanted), atol=1e-5)
