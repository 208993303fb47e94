"""An openai expander that asks the server of these tests."""

from terrasynth.prompts import load_expander

KEY = "sk-test-4711-secret"
CLASSES = ["harbor", "storagetanks", "sand_mine"]
OPTIONS = {"model": "m", "profile": "ucm", "classes": CLASSES, "per_request": 4}


def make(server, folder, **options):
    defaults = {"base_url": server.url, "cache": folder, "timeout": 5}
    return load_expander("openai", **{**OPTIONS, **defaults, **options})


def texts(expander, label="harbor", seed=0, start=0, count=8):
    return [one.text for one in expander.expand(label, seed, start, count)]
