"""Which flipped bits of a block does `terrasynth verify` notice, and by what?

    python tests/benchmarks/bit_flips.py RUN --flips 4000

Flips single bits, drawn evenly from all bits of the smallest block of RUN, one at a time in a copy, and counts what
names the fault: reading with page checksums and comparing ids, seeds, classes and names; decoding the pictures and
checking captions; or writing the content again and comparing the bytes. Prints a table. What passes are digits of the
name of the encoder and of the version that wrote the file: nothing is read otherwise for them.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from terrasynth.synthesis.verify.blocks import wrong_with_block
from terrasynth.synthesis.verify.record import read_record

AGAIN = "content written again"


def noticed_by(run, path: Path, label: str, index: int) -> str:
    if next(wrong_with_block(run, path, label, index, fast=True), None):
        return "page checksums and rows"
    what = next(wrong_with_block(run, path, label, index, fast=False), None)
    if what is None:
        return "nothing"
    return AGAIN if what.startswith(("byte ", "its footer")) else "pictures"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--flips", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    block = min((options.run / "blocks").glob("*/*.parquet"), key=lambda path: path.stat().st_size)
    run, _ = read_record(options.run)
    whole, label, index = block.read_bytes(), block.parent.name, int(block.stem)
    metadata = pq.read_metadata(block)
    footer = len(whole) - metadata.serialized_size - 8
    rng, found = random.Random(options.seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / block.name
        for bit in rng.sample(range(len(whole) * 8), min(options.flips, len(whole) * 8)):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            copy.write_bytes(data)
            where = "footer" if bit // 8 >= footer else "pages and their headers"
            found[where, noticed_by(run, copy, label, index)] += 1
    print(f"{block.name} of {label}: {len(whole)} bytes, {len(whole) - footer} of them footer; "
          f"{sum(found.values())} flips, seed {options.seed}")
    for (where, how), count in sorted(found.items()):
        print(f"{where:24} {how:24} {count:6d}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
