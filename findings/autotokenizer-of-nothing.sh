#!/usr/bin/env bash
# A folder with a BLIP model and no file of a tokenizer is what is left when a download is cut, or a repository forgets
# it. `AutoTokenizer.from_pretrained` of transformers 5.23.0 raises nothing there: it gives a tokenizer that knows its
# five special tokens and no word, so that every caption is "[UNK]" to the model. Look at the size of the vocabulary, or
# for the files, before such a tokenizer is used.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1
mkdir "$work/model"
echo '{"model_type": "blip", "text_config": {"vocab_size": 30524}}' >"$work/model/config.json"
cat >"$work/read.py" <<'PYTHON_CODE'
import sys

import tokenizers
import transformers
from transformers import AutoTokenizer

print("transformers", transformers.__version__, "tokenizers", tokenizers.__version__)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
read = tokenizer.decode(tokenizer("two airplanes stand on an apron").input_ids)
print(type(tokenizer).__name__, "of", len(tokenizer), "tokens where the model has 30524; reads:", read)
assert len(tokenizer) < 10 and "airplanes" not in read, "it raises, or finds a vocabulary"
PYTHON_CODE
"$work/venv/bin/python" "$work/read.py" "$work/model"
