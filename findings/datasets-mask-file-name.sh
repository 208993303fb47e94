#!/usr/bin/env bash
# `load_dataset("imagefolder")` makes a column of images of every key of metadata.jsonl that ends in `file_name`. Where
# `depth_file_name` stands before `file_name`, as it does where a writer sorts its keys, the column `depth` gets the
# image, `image` is None, and nothing is said. The order of keys means nothing in JSON.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
cat >"$work/masks.py" <<'PYTHON_CODE'
import json
import sys
from pathlib import Path

import datasets
import PIL
from PIL import Image

datasets.disable_progress_bars()
work = Path(sys.argv[1])
VALUES = {"file_name": "red.png", "depth_file_name": "depth/red.png"}


def read(keys):
    """The mode of what each column holds, for a line with the keys in this order."""
    folder = work / "-".join(keys)
    (folder / "depth").mkdir(parents=True)
    Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "red.png")
    Image.new("L", (8, 8), 7).save(folder / "depth" / "red.png")
    (folder / "metadata.jsonl").write_text(json.dumps({key: VALUES[key] for key in keys}) + "\n")
    row = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(folder / "c"))[0]
    return {name: None if image is None else image.mode for name, image in row.items()}


print(f"datasets {datasets.__version__}, pillow {PIL.__version__}")
first, last = read(["file_name", "depth_file_name"]), read(["depth_file_name", "file_name"])
print(f"file_name first: {first} (expected: image RGB, depth L)")
print(f"file_name last:  {last} (expected: image RGB, depth L)")
sys.exit(0 if first == {"image": "RGB", "depth": "L"} and last == {"image": None, "depth": "RGB"} else 1)
PYTHON_CODE
"$work/venv/bin/python" "$work/masks.py" "$work"
