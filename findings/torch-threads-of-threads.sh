#!/usr/bin/env bash
# torch 2.13.0, CPU: set_num_threads holds for the thread that calls it, and besides for every thread that is begun
# later. A helper thread that asks for one therefore changes how sums are split, and so their last bits, in threads that
# never asked for anything, while the main thread still reports the number that it set.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
unset OMP_NUM_THREADS MKL_NUM_THREADS
CUDA_VISIBLE_DEVICES="" "$work/venv/bin/python" - <<'PYTHON_CODE'
import sys
import threading

import torch


def in_a_new_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def one():
    torch.set_num_threads(1)
    return torch.get_num_threads()


def seen():
    torch.ones(1_000_000).sin().sum()  # the number is settled when a thread first computes
    return torch.get_num_threads()


print(f"torch {torch.__version__}")
torch.set_num_threads(2)
main, before = seen(), in_a_new_thread(seen)
asked = in_a_new_thread(one)
after, later = seen(), in_a_new_thread(seen)
print(f"the main thread asks for 2 and has {main}; a thread begun then has {before}")
print(f"another thread asks for {asked} for itself and ends")
print(f"the main thread has {after}; a thread begun then has {later}; expected: {main} and {before}")
sys.exit(0 if (main, before, after, later) == (2, 2, 2, 1) else 1)
PYTHON_CODE
