import json

import pytest
from PIL import Image

from tests.tiny import tiny_pictures

CLASSES = {"beach": "sand", "forest": "trees", "river": "water"}


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """A made-up data set in the layout of `pairs.jsonl`: 3 classes, 16 train, 4 val and 4 test pictures each."""
    folder = tmp_path_factory.mktemp("real")
    rows = []
    for number, (label, thing) in enumerate(CLASSES.items()):
        (folder / "images" / label).mkdir(parents=True)
        for i, pixels in enumerate(tiny_pictures(24, size=48, seed=number)):
            file = f"images/{label}/{i:02d}.png"
            Image.fromarray(pixels).save(folder / file)
            split = "train" if i < 16 else "val" if i < 20 else "test"
            captions = [f"A {label} with {thing} .", f"Some {thing} number {i % 5} ."]
            rows.append({"file": file, "class": label, "split": split, "captions": captions})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
