"""How many prompts a second does the grammar give on one core, and how many of them are different?

    python tests/benchmarks/grammar_speed.py --n 1000000 --profile open

Prompts of the 21 UC Merced classes in equal numbers, each with its five captions and its scene, drawn twice: the second
time by another process in other portions, and the bytes have to be the same (exit code 1 when they are not). Beside it,
for a ratio that means something on any machine, what `json.dumps` of the same prompts takes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

from terrasynth.prompts import Prompt, load_expander
from terrasynth.prompts.scenes.ontology import UCM_CLASSES

ROOT = Path(__file__).resolve().parents[2]


def digest_of(prompts: list[Prompt], digest: hashlib._Hash) -> None:
    for one in prompts:
        digest.update("\x1f".join((one.text, *one.captions, one.scene)).encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--profile", default="open")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--portion", type=int, default=4096, help="prompts a call")
    parser.add_argument("--digest-only", action="store_true")
    options = parser.parse_args()
    expander = load_expander("grammar", profile=options.profile)
    quota, rest = divmod(options.n, len(UCM_CLASSES))
    drawing, writing, digest, texts = 0.0, 0.0, hashlib.sha256(), set()
    for number, label in enumerate(UCM_CLASSES):
        count = quota + (number < rest)
        for start in range(0, count, options.portion):
            begun = time.process_time()
            prompts = expander.expand(label, options.seed, start, min(options.portion, count - start))
            drawing += time.process_time() - begun
            digest_of(prompts, digest)
            if not options.digest_only:
                texts.update(hash(one.text) for one in prompts)
                begun = time.process_time()
                for one in prompts:
                    json.dumps({"text": one.text, "label": label, "captions": one.captions, "scene": one.scene})
                writing += time.process_time() - begun
    if options.digest_only:
        print(digest.hexdigest())
        return 0
    again = subprocess.run(
        [sys.executable, __file__, "--digest-only", "--n", str(options.n), "--profile", options.profile, "--seed",
         str(options.seed), "--portion", "1000"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    print(f"profile {options.profile}, seed {options.seed}: {options.n:,} prompts in {drawing:.1f} s of one core, "
          f"{options.n / drawing:,.0f} a second, {writing / drawing:.2f} times as fast as json.dumps of them; "
          f"{len(texts):,} different texts; the same bytes again: {again == digest.hexdigest()}")
    return 0 if again == digest.hexdigest() else 1


if __name__ == "__main__":
    sys.exit(main())
