#!/usr/bin/env bash
# Since 0.8.0 `save_file` of safetensors writes beside the file and moves that into its place. So a model is readable by
# its owner alone (mode 600), whatever the umask and whatever mode the file had before; a symbolic link at that place is
# replaced, and what it led to stays as it was. Through 0.7.0 all of this was as with `open(path, "wb")`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
cat >"$work/save.py" <<'PYTHON_CODE'
import os
import sys
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

folder, new = Path(sys.argv[1]), sys.argv[2] == "new"
folder.mkdir()
os.umask(0o022)
weights = {"weight": np.arange(4, dtype=np.float32)}


def mode(path):
    return oct(path.stat().st_mode & 0o777)


config = folder / "config.json"
config.write_text("{}")
fresh = folder / "fresh.safetensors"
save_file(weights, fresh)

shared = folder / "shared.safetensors"
shared.write_bytes(b"")
shared.chmod(0o664)
save_file(weights, shared)

aim, link = folder / "aim.safetensors", folder / "link.safetensors"
save_file({"weight": np.zeros(4, np.float32)}, aim)
link.symlink_to(aim)
save_file(weights, link)
reached = bool((load_file(aim)["weight"] == weights["weight"]).all())

print(f"safetensors {safetensors.__version__}, umask 022")
print(f"config.json {mode(config)}, a new file {mode(fresh)} (expected: 0o644)")
print(f"a file that had 0o664 before: {mode(shared)} (expected: 0o664)")
print(f"a link is still one: {link.is_symlink()}; what it leads to was written: {reached} (expected: True, True)")
found = (mode(fresh), mode(shared), link.is_symlink(), reached)
sys.exit(0 if found == (("0o600", "0o600", False, False) if new else ("0o644", "0o664", True, True)) else 1)
PYTHON_CODE
for release in "0.7.0 old" "0.8.0 new"; do
  read -r version which <<<"$release"
  "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 "safetensors==$version"
  "$work/venv/bin/python" "$work/save.py" "$work/$which" "$which"
done
