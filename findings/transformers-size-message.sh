#!/usr/bin/env bash
# The image processors of transformers 5 that work without torchvision check their `size`, and where a key is missing
# they mean to raise a ValueError that says which. Six of them build that message with `size.keys()`, which the
# SizeDict of transformers 5 does not have: what reaches the user is an AttributeError about SizeDict, and code that
# catches ValueError to explain a wrong preprocessor_config.json does not catch it. CLIP's has the message as meant.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.23.0 torch==2.13.0 \
  pillow==12.0.0 numpy==2.3.5
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=""
cat >"$work/size.py" <<'PYTHON_CODE'
import sys

import numpy as np
import transformers
from PIL import Image

image = Image.fromarray(np.zeros((40, 60, 3), np.uint8))
square, edge = {"height": 32, "width": 32}, {"shortest_edge": 32}
asked = {"BridgeTower": square, "ConvNext": square, "DPT": edge, "Levit": {"longest_edge": 32}, "Perceiver": edge,
         "TextNet": square, "CLIP": {"longest_edge": 32}}
seen = {}
for name, size in asked.items():
    processor = getattr(transformers, f"{name}ImageProcessorPil")(size=size)
    try:
        processor(image)
        seen[name] = "nothing"
    except Exception as error:
        seen[name] = f"{type(error).__name__}: {error}"
    print(f"{name}, size={size}: {seen[name]}")
print(f"transformers {transformers.__version__}; expected: a ValueError that names the missing key, from each")
lost = [name for name, error in seen.items() if error == "AttributeError: 'SizeDict' object has no attribute 'keys'"]
sys.exit(0 if sorted(lost) == sorted(set(asked) - {"CLIP"}) and seen["CLIP"].startswith("ValueError") else 1)
PYTHON_CODE
"$work/venv/bin/python" "$work/size.py" 2>"$work/errors" || { tail -n 5 "$work/errors"; exit 1; }
