"""What a training says before its first step."""

import torch

from terrasynth.training.data.how_far import HowFar, encoding
from terrasynth.training.data.latent_cache import TensorCache


def test_it_says_at_once_what_is_made_and_then_how_far_it_is(capsys):
    far = HowFar("features of {} images", "features of", " images", every=0)
    far.begin(5)
    assert capsys.readouterr().err == "features of 5 images\n"
    for count in (2, 3):
        far.add(count)
    assert capsys.readouterr().err == "features of 2 of 5 images\nfeatures of 5 of 5 images\n"


def test_between_two_lines_seconds_go_by(capsys):
    far = HowFar("{}", "made", every=3600)
    far.begin(100)
    for _ in range(100):
        far.add(1)
    assert capsys.readouterr().err == "100\nmade 100 of 100\n"


def test_what_is_done_often_is_told_only_where_it_takes_long(capsys):
    for every, told in ((3600, ""), (0, "drawn 1 of 2\ndrawn 2 of 2\n")):
        far = HowFar("", "drawn", every=every, at_once=False)
        far.begin(2)
        far.add(1)
        far.add(1)
        assert capsys.readouterr().err == told
    silent = HowFar("{}", "drawn", every=0, enabled=False)
    silent.begin(1)
    silent.add(1)
    assert capsys.readouterr().err == ""


def test_how_long_the_rest_takes_is_told_before_the_first_is_whole(capsys, monkeypatch):
    now = iter([100.0, 102.0, 110.0, 140.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    far = HowFar("", "drawn", " images", at_once=False)
    far.begin(4)
    far.within(0.1, 2)  # after two seconds nothing is said
    far.within(0.5, 2)
    far.add(2)
    assert capsys.readouterr().err == "drawn 0 of 4 images, about 30 s to go\ndrawn 2 of 4 images, about 40 s to go\n"


def test_only_what_is_missing_in_a_cache_is_told(tmp_path, capsys):
    def make():
        cache, far = TensorCache(tmp_path / "c", 10, 4), encoding(8)

        def encode(rows):
            far.add(len(rows))
            return {"x": torch.zeros(len(rows), 2)}

        cache.make(encode, far)

    make()
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], lines[-1]) == ("encoding 10 images, 8 views each", "encoded 10 of 10")
    (tmp_path / "c" / "00001.safetensors").unlink()
    make()
    assert capsys.readouterr().err == "encoding 4 images, 8 views each\nencoded 4 of 4\n"
    make()
    assert capsys.readouterr().err == ""
