"""The command line, and the only place where all packages meet."""

from terrasynth.synthesis.cli.root import cli, main

__all__ = ["cli", "main"]
