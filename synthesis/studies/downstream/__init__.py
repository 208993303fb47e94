"""Does training on the generated images help? Classifiers trained on several mixtures, compared on real images."""

__all__ = ["arms", "cells", "exposure", "pools", "probing", "report", "targeted"]
