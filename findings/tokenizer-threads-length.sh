#!/usr/bin/env bash
# A tokenizer of transformers keeps in itself how it pads and cuts, and sets that at the beginning of each call. Two
# threads that ask one tokenizer for different padding once got "RuntimeError: Already borrowed"; with tokenizers 0.23.3
# they get no error, and now and then the padding that the other thread asked for. In a pipeline that is a shorter text,
# and another image.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1
cat >"$work/threads.py" <<'PYTHON_CODE'
import sys
import threading
import time

import tokenizers
import transformers
from transformers import CLIPTokenizer

letters = [*"abcdefghijklmnopqrstuvwxyz"]
words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
tokenizer = CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[], model_max_length=16)
expected = {"max_length": 16, "longest": 5}
wrong, calls, errors = dict.fromkeys(expected, 0), dict.fromkeys(expected, 0), []
stop = threading.Event()


def ask(padding):
    while not stop.is_set():
        try:
            found = tokenizer("a b c", padding=padding, max_length=16, truncation=True).input_ids
        except RuntimeError as error:
            errors.append(str(error))
            continue
        calls[padding] += 1
        wrong[padding] += len(found) != expected[padding]


sys.setswitchinterval(1e-6)  # threads take turns often, so that seconds show what would else take minutes
threads = [threading.Thread(target=ask, args=(padding,)) for padding in expected]
for thread in threads:
    thread.start()
began = time.monotonic()
while time.monotonic() - began < 120 and not all(wrong.values()):
    time.sleep(0.5)
stop.set()
for thread in threads:
    thread.join()
print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, two threads, one CLIPTokenizer")
for padding, length in expected.items():
    print(f"padding={padding!r}: {wrong[padding]} of {calls[padding]} texts had another length than {length} "
          "(expected: 0, or an error)")
print(f"errors: {len(errors)} {errors[:1]}")
sys.exit(0 if all(wrong.values()) and not errors else 1)
PYTHON_CODE
"$work/venv/bin/python" "$work/threads.py"
