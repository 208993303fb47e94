"""Masks of a user's own: read, cut, joined, and the same again from the layout."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.labels import Labels, labels_of
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.masks import joined, layout_of, mask_layout, read_masks

VALUE = load_catalog().value
YAML = "gsd: 2.0\nlabel: town\nclasses: {0: land, 1: building, 2: road, 4: water}\n"


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "classes.yaml").write_text(YAML)
    for number in range(3):
        mask = np.zeros((40, 48), np.uint8)
        mask[18:22] = 2
        for top, left in random.integers(0, 34, (6, 2)):
            mask[top : top + 5, left : left + 4] = 1
        mask[:, 44:] = 4
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("seed", range(6))
def test_a_layout_of_a_mask_is_the_mask(seed):
    """Pieces with holes and with corners that touch, too."""
    random = np.random.default_rng(seed)
    mask = np.where(random.random((31, 31)) < 0.5, VALUE("building"), VALUE("grass")).astype(np.uint8)
    layout = layout_of(mask, "town", 2.3, min_pixels=1)
    labels = Labels(layout)
    assert (labels.semantic == mask).all()
    pieces, count = ndimage.label(mask == VALUE("building"))
    assert len(labels.instances) == count
    assert all(len(np.unique(pieces[labels.mask == one.number])) == 1 for one in labels.instances)
    assert Layout.from_json(layout.to_json()) == layout


def test_boxes_of_pieces_hold_them():
    mask = np.full((30, 30), VALUE("grass"), np.uint8)
    mask[3:13, 5:9] = VALUE("building")
    (thing,) = layout_of(mask, "town", 2.0).things
    assert (thing.length, thing.width, thing.x, thing.y) == (20, 8, 14, 16)
    assert thing.heading % 180 == 0


def test_layouts_are_cut_from_the_masks(folder):
    masks = read_masks(folder, 32)
    layout = mask_layout(masks, 0, 1, 32)
    assert layout == mask_layout(read_masks(folder, 32), 0, 1, 32)
    assert (layout.label, layout.pixels, layout.gsd, layout.kinds) == ("town", 32, 2.0, ("building",))
    assert len({mask_layout(masks, 0, k, 32).hash for k in range(8)}) == 8
    known = {VALUE(name) for name in ("land", "building", "road", "water")}
    assert set(np.unique(labels_of(layout).semantic).tolist()) <= known


def test_the_hash_names_what_the_masks_hold(folder):
    before = read_masks(folder, 32).hash
    (folder / "classes.yaml").write_text(YAML.replace("4: water", "4: grass"))
    assert read_masks(folder, 32).hash != before


def test_the_seam_goes_where_masks_agree():
    """Against the best of all seams, by trying each one."""
    random = np.random.default_rng(1)
    one, other = (random.integers(0, 3, (4, 8)).astype(np.uint8) for _ in range(2))
    left, right = 3, 5

    def cost(path):
        return sum(one[row, at] != other[row, at] for row, at in enumerate(path))

    paths = [[at] for at in range(left, right)]
    for _ in range(3):
        paths = [[*path, at] for path in paths for at in range(left, right) if abs(at - path[-1]) <= 1]
    found = joined(one, other)
    cuts = [next(path for path in paths if all(
        (found[row, :at] == one[row, :at]).all() and (found[row, at:] == other[row, at:]).all()
        for row, at in enumerate(path)))]
    assert cost(cuts[0]) == min(map(cost, paths))


@pytest.mark.parametrize(("yaml", "said"), [
    (YAML.replace("1: building", "1: buildings"), "class 1 is 'buildings', which is not in the catalog (did you mean "),
    (YAML.replace("gsd: 2.0", "gsd: 0"), "gsd 0 is wrong"),
    (YAML.replace("label: town\n", ""), "label is missing"),
    (YAML.replace("4: water", "5: water"), "mask 0.png has the value 4, which classes.yaml does not name"),
    ("a: [", "is no YAML"),
])
def test_errors(folder, yaml, said):
    (folder / "classes.yaml").write_text(yaml)
    with pytest.raises(InputError) as error:
        read_masks(folder, 32)
    assert said in str(error.value)


def test_errors_of_files(folder, tmp_path):
    with pytest.raises(InputError, match=r"mask 0.png is 48 x 40 pixels; layouts of 64 need as many a side"):
        read_masks(folder, 64)
    Image.new("RGB", (48, 48)).save(folder / "0.png")
    with pytest.raises(InputError, match=r"mask 0\.png has mode RGB"):
        read_masks(folder, 32)
    (folder / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"mask 0\.png cannot be read"):
        read_masks(folder, 32)
    (folder / "classes.yaml").unlink()
    with pytest.raises(InputError, match=r"has no classes.yaml"):
        read_masks(folder, 32)
