"""What every test runs under: no network."""

from __future__ import annotations

import os
import tempfile

# Before any library reads it: a test that would reach the Hub has to fail at once, not to wait.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="terrasynth-tests-")  # not the user's features and answers
