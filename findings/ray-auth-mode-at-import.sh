#!/usr/bin/env bash
# Ray reads RAY_AUTH_MODE twice: in the process that imports it, at the import, and in the servers that `ray.init` starts,
# at their start. A program that sets it after its imports and before `ray.init`, as it may do with Ray's other
# variables, gets servers that ask for a token from a driver that sends none: no cluster, and after 20 seconds an error
# which says that the mode is 'disabled' while the variable says "token". Set before the import, the same two lines work.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check ray==2.60.0
export RAY_USAGE_STATS_ENABLED=0
unset RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH RAY_ADDRESS
cat >"$work/late.py" <<'PYTHON_CODE'
import os
import sys

if sys.argv[1] == "before":
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
import ray

if sys.argv[1] == "after":
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
try:
    ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR",
             object_store_memory=100 * 2**20)
except RuntimeError as error:
    wrong = "RAY_AUTH_MODE is currently 'disabled'" in str(error)
    print(f"ray {ray.__version__}, set {sys.argv[1]} the import: RuntimeError"
          f"{', in which the mode is called disabled' if wrong else f': {error}'}")
    sys.exit(3 if wrong else 1)
print(f"ray {ray.__version__}, set {sys.argv[1]} the import: a cluster of {ray.cluster_resources()['CPU']:g} CPU")
ray.shutdown()
PYTHON_CODE
"$work/venv/bin/python" "$work/late.py" before
status=0
"$work/venv/bin/python" "$work/late.py" after || status=$?
echo "expected: the same of both; exit code of the second: $status"
[ "$status" -eq 3 ]
