"""The option `--cache` of the commands that embed pictures."""

from __future__ import annotations

import click

cache_option = click.option(
    "--cache", metavar="FOLDER|none", help="Keeps features. Default: $XDG_CACHE_HOME/terrasynth/features."
)
