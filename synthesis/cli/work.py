"""The hidden command `work`: the process that a supervisor gives jobs to."""

from __future__ import annotations

import sys

import click


@click.command(hidden=True)
def work() -> None:
    """Do the jobs that a supervisor writes to standard input."""
    from terrasynth.synthesis.cli.errors import said_in_a_log
    from terrasynth.synthesis.cli.real_data import real_images
    from terrasynth.synthesis.service.tasks.base import Tools
    from terrasynth.synthesis.service.tasks.doing import take_orders

    sys.exit(take_orders(Tools(real_images, said_in_a_log)))
