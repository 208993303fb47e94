"""Trainings in several processes, as `torchrun` and `accelerate launch` start them."""

import os

# `torchrun` ends in a call of `elastic_launch`, too; its processes are programs, and these are forks.
LAUNCH = """
import importlib, sys
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
main = importlib.import_module(sys.argv[2]).main
config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=int(sys.argv[1]), rdzv_backend="c10d",
                      rdzv_endpoint="localhost:0", run_id="test", start_method="fork", max_restarts=0)
elastic_launch(config, main)(*sys.argv[3:])
"""


def launch(python, processes, module, *arguments):
    """Call `main` of a module in so many processes; each knows of the others by its environment variables."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    python.run("-c", LAUNCH, processes, module, *arguments, env=environment, check=True)
