#!/usr/bin/env bash
# Image processors of DETR and its kin resize the masks of an image's annotations. Of an image without annotations, which
# is as much a part of a training as any other, they stack no masks and index what comes out as if there were some: an
# IndexError. Without masks, or without resizing, the same image gives no boxes, as it should.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.23.0 pillow==13.0.0 \
  pycocotools==2.0.11
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
cat >"$work/masks.py" <<'PYTHON_CODE'
import sys

import transformers
from PIL import Image

PROCESSORS = ("DetrImageProcessorPil", "ConditionalDetrImageProcessorPil", "DeformableDetrImageProcessorPil",
              "YolosImageProcessorPil", "GroundingDinoImageProcessorPil")
THING = {"bbox": [1, 2, 3, 4], "category_id": 1, "area": 12, "iscrowd": 0,
         "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]]}
IMAGE = Image.new("RGB", (96, 96))


def masks(name, things, **options):
    """The shape of the masks of an image, or what is raised."""
    processor = getattr(transformers, name)(**options)
    try:
        found = processor(images=IMAGE, annotations={"image_id": 1, "annotations": things},
                          return_segmentation_masks=True, return_tensors="np")
    except IndexError as error:
        return f"IndexError: {error}"
    return tuple(found["labels"][0]["masks"].shape)


print(f"transformers {transformers.__version__}")
as_described = True
for name in PROCESSORS:
    one, none, unresized = masks(name, [THING]), masks(name, []), masks(name, [], do_resize=False, do_pad=False)
    print(f"{name}: one thing {one}, none {none} (expected: (0, ...)), none without resizing {unresized}")
    as_described &= one[0] == 1 and str(none).startswith("IndexError: too many indices") and unresized[0] == 0
sys.exit(0 if as_described else 1)
PYTHON_CODE
"$work/venv/bin/python" "$work/masks.py"
