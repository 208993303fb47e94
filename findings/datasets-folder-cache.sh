#!/usr/bin/env bash
# datasets 5.2.0: a local folder is cached under a hash of its README's header, which does not look at the data files.
# Changed rows under an unchanged header therefore come back as they were before.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$work/venv/bin/python" - "$work" <<'PYTHON_CODE'
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

HEADER = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*.parquet\n---\n\n# Rows\n"


def read(folder, rows, header):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": rows}), folder / "data" / "train.parquet")
    if header:
        (folder / "README.md").write_text(header)
    return datasets.load_dataset(str(folder), split="train")["text"][:]


work = Path(sys.argv[1])
old, new = ["a river"] * 3, ["a harbor"] * 5
print(f"datasets {datasets.__version__}")
read(work / "with", old, HEADER)
seen = read(work / "with", new, HEADER)
print(f"expected after the file was replaced: {new}")
print(f"seen with a header of configs:        {seen}")
read(work / "without", old, "")
plain = read(work / "without", new, "")
print(f"seen without a README.md:             {plain}")
sys.exit(0 if seen == old and plain == new else 1)
PYTHON_CODE
