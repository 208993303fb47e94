"""Images captioned as data to train on, and captions measured against what is said of images."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from terrasynth.eval.metrics.captions import score_captions
from terrasynth.eval.models.captioners import load_captioner
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.studies.captions import Described, captions_of, measure_captions
from terrasynth.synthesis.studies.recaption import Uncaptioned, recaption
from terrasynth.training.data import read_pairs
from tests.synthesis.exports import run_rows, write_run
from tests.tiny import tiny_pictures
from tests.tiny_captioners import tiny_blip, tiny_captioner


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    return tiny_captioner(tmp_path_factory.mktemp("captioner") / "cap")


@pytest.fixture(scope="module")
def images():
    """Of three sizes, one of them no square."""
    return [*tiny_pictures(20, size=48), *tiny_pictures(15, size=40, seed=1),
            *(image[:, 4:] for image in tiny_pictures(5, size=48, seed=2))]


@pytest.fixture
def folder(images, tmp_path):
    """The images without any text, some in folders of classes."""
    for number, image in enumerate(images):
        path = tmp_path / "DIR" / ("beach" if number % 2 else "forest") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "DIR"


def test_images_of_any_size_are_captioned_by_their_middle(captioner, images):
    model = load_captioner(captioner)
    said = list(captions_of(model, images, "ucm"))
    assert said == [model.caption((image if image.shape[1] > 44 or image.shape[0] < 44 else image[2:46])[None],
                                  "ucm")[0] for image in images]
    assert len(set(said)) > 1


def test_a_folder_without_texts_becomes_data_to_train_on(captioner, folder, tmp_path, terrasynth):
    code, out, errors = terrasynth("recaption", folder, "--captioner", captioner, "--out", tmp_path / "made")
    assert (code, errors[-1]) == (0, "captioned 40 of 40")
    assert out.splitlines()[-1] == f"next       terrasynth train lora --data {tmp_path / 'made'} --base BASE --out LORA"
    assert "(40 images, " in out
    rows = [json.loads(line) for line in (tmp_path / "made" / "pairs.jsonl").read_text().splitlines()]
    pairs = read_pairs(tmp_path / "made").pairs
    model = load_captioner(captioner)
    for row, pair in zip(rows, pairs, strict=True):
        pixels = np.asarray(pair.open())
        assert np.array_equal(pixels, np.asarray(Image.open(folder / row["of"])))
        assert pair.captions == (row["caption"],) == tuple(captions_of(model, [pixels]))
        assert pair.label == row["of"].split("/")[0]


def test_it_goes_on_where_it_was_cut_off_and_refuses_another_call(captioner, folder, tmp_path, terrasynth):
    def made(name, *more):
        return terrasynth("recaption", folder, "--captioner", captioner, "--out", tmp_path / name, *more)

    made("whole")
    made("cut")
    before = (tmp_path / "cut" / "images" / "0000000.png").stat().st_ino
    (tmp_path / "cut" / "pairs.jsonl").unlink()
    (tmp_path / "cut" / ".parts" / "0000032.json").write_text("{")
    (tmp_path / "cut" / "images" / "0000039.png").unlink()
    code, out, _ = made("cut")
    assert (code, "; 32 of them were there" in out) == (0, True)
    assert (tmp_path / "cut" / "images" / "0000000.png").stat().st_ino == before
    for path in ("pairs.jsonl", "images/0000039.png"):
        assert (tmp_path / "cut" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()
    code, _, errors = made("whole", "--style", "ucm")
    assert (code, "holds captions of another call: style differ; give another --out" in errors[-1]) == (2, True)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "recaption.json.tmp").touch()  # killed while it noted what it was to make
    assert made("killed")[0] == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    code, _, errors = made("other")
    assert (code, "exists and holds no captions of this command; give a new folder" in errors[-1]) == (2, True)


def test_a_run_is_captioned_anew_by_a_captioner_of_transformers(tmp_path, terrasynth):
    rows = run_rows(3)
    run = write_run(tmp_path / "RUN", rows)
    code, _, _ = terrasynth("recaption", run, "--captioner", tiny_blip(tmp_path / "blip"), "--out", tmp_path / "made",
                            "--keep", "--limit", "5")
    assert code == 0
    pairs = read_pairs(tmp_path / "made").pairs
    written = [json.loads(line) for line in (tmp_path / "made" / "pairs.jsonl").read_text().splitlines()]
    assert [row["of"] for row in written] == [row["id"] for row in rows[:5]]
    assert [row["captions"] for row in written] == [[one["text"], row["caption"]] for one, row in
                                                    zip(rows, written, strict=False)]
    assert [pair.label for pair in pairs] == [row["label"] for row in rows[:5]]


def test_figures_are_those_of_what_it_says(captioner):
    pixels, random = tiny_pictures(40, size=48), np.random.default_rng(0)
    model = load_captioner(captioner)
    said = model.caption(pixels)
    texts = [(text, "two boats in the harbor", f"a road and {random.integers(3)} trees") for text in said]
    found = measure_captions(Described(pixels.__getitem__, texts, ["a", "b"] * 20), model, seed=3)
    wanted = score_captions(said, texts)
    assert found.said == tuple(said)
    assert (found.bleu, found.cider.value) == (wanted.bleu, pytest.approx(wanted.cider.mean()))
    assert found.rouge_l.value == pytest.approx(1.0)
    assert found.other.value < found.cider.value
    assert found.people is not None
    assert found.texts == (3.0, np.mean([len(set(own)) for own in texts]))
    assert found.lines()[-1] == "captioner local, style rsicd, seed 3"
    assert found.record()["cider_d"]["n"] == 40
    assert measure_captions(Described(pixels.__getitem__, texts, ["a"] * 40), model).told is None


def test_told_is_the_share_of_texts_that_are_likelier_of_their_own_image(captioner):
    pixels, model = tiny_pictures(40, size=48), load_captioner(captioner)
    texts = ["two boats in the harbor", "a road and trees"] * 20
    one, other = (model.log_likelihood(pixels, [text] * 40) for text in texts[:2])
    assert one.max() > one.min()
    # Of two images of two classes, the other one is known.
    wanted = [one[0] > one[1], other[1] > other[0]]
    found = measure_captions(Described(pixels.__getitem__, [(text,) for text in texts[:2]], ["a", "b"]), model)
    assert (found.told.value, found.told.n) == (np.mean(wanted), 2)
    # Where one class has a single image, the others are compared with that one.
    labels = ["a"] + ["b"] * 39
    found = measure_captions(Described(pixels.__getitem__, [("a road and trees",)] * 40, labels), model)
    share = float((other[1:] > other[0]).mean())
    assert abs(found.told.value - share) <= 1 / 40 + share / 40


def test_the_command_gives_the_figures_of_data_and_of_a_run(captioner, tmp_path, terrasynth):
    run = write_run(tmp_path / "RUN", run_rows(4))
    code, out, errors = terrasynth("eval", "captions", run, "--captioner", captioner, "--style", "ucm", "--out",
                                   tmp_path / "figures.json", "--captions", tmp_path / "said.txt")
    assert (code, errors) == (0, [])
    record = json.loads((tmp_path / "figures.json").read_text())
    said = (tmp_path / "said.txt").read_text().splitlines()
    assert record["n"] == len(said) == len(run_rows(4))
    assert record["bleu"] == list(score_captions(said, [[row["text"]] for row in run_rows(4)]).bleu)
    assert out.splitlines()[-1] == "captioner local, style ucm, seed 0"
    assert "people" not in out
    code, _, errors = terrasynth("eval", "captions", run, "--captioner", captioner, "--device", "no-such")
    assert (code, "device 'no-such' cannot be used: " in errors[-1]) == (2, True)


def test_what_cannot_be_done_is_said(captioner, tmp_path):
    model = load_captioner(captioner)
    with pytest.raises(InputError, match="give two images at least"):
        measure_captions(Described(tiny_pictures(1).__getitem__, [("a",)], [""]), model)
    with pytest.raises(InputError, match="'DIR' has no images to caption"):
        recaption([], model, tmp_path / "made", "DIR")
    image = Uncaptioned("a.png", "", "train", (), lambda: tiny_pictures(1)[0])
    made = recaption([image], model, tmp_path / "made", "DIR")
    assert (made.images, made.distinct, made.before) == (1, 1, 0)
    record = tmp_path / "made" / "recaption.json"
    record.write_text(record.read_text().replace('"DIR"', '"OTHER"'))
    with pytest.raises(InputError, match=r"cannot be believed .*; give another --out, or remove that folder"):
        recaption([image], model, tmp_path / "made", "DIR")
    shutil.rmtree(tmp_path / "made")
