"""`python -m terrasynth.synthesis.cli`: the command line."""

from terrasynth.synthesis.cli import main

main()
