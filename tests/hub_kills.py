"""Pushes that are killed in the middle of a request, and then carried on."""

import os
import random
from contextlib import closing

from tests.forks import HUB, Python
from tests.hub_faults import Fault, fault_at
from tests.hub_server import TOKEN


def push_through_kills(hub, folder, home, most):
    """Kill three pushes of `folder` at a random one of their first `most` requests, then let one end.

    Returns how many were still alive to be killed.
    """
    command = ("-m", "terrasynth", "push", folder, "--repo", "user/tiny")
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0",
                                "HF_DATASETS_OFFLINE": "0", "HF_HOME": str(home)}
    draw, kills = random.Random(1), 0
    with closing(Python(HUB, environment)) as python:  # the libraries read these variables while they are imported
        for number in [draw.randrange(2, most) for _ in range(3)]:
            first = len(hub.asked)
            child = python.start(*command, env=environment)
            hub.faults = fault_at(first + number, Fault(kill=child.pid))
            kills += child.wait() == -9
        hub.faults = None
        python.run(*command, env=environment, check=True)
    return kills
