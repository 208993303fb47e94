"""`python -m terrasynth`: the command line."""

from terrasynth.synthesis.cli import main

if __name__ == "__main__":
    main()
