"""A judge of own classes: what it says of held-out images, what its folder holds, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from terrasynth.eval import CachedEncoder, Calibration, load_classifier, load_encoder, load_picture_encoder
from terrasynth.eval.errors import InputError as EvalInputError
from terrasynth.eval.evaluation.figures import network_name, network_of
from terrasynth.eval.evaluation.judge_figures import load_judge_figures, measure_judge
from terrasynth.eval.models.knowledge import load_knowledge
from terrasynth.training import run_preset
from terrasynth.training.errors import InputError
from terrasynth.training.judges.card import pass_real
from tests.tiny import tiny_scene
from tests.training.judges.conftest import CLASSES, FAST, SIDE, class_folders, images

SENTENCES = [f"an aerial image of {name}" for name in ("a flooded village", "a solar farm", "wind turbines")]


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_it_knows_new_images_by_sight_and_by_words(judge):
    new = np.stack([image for label in CLASSES for image in images(label, 4, seed=9)])
    wanted = np.repeat(np.arange(3), 4)
    classifier, encoder = load_classifier(judge.out), load_encoder(judge.out)
    found = classifier.classify(new)
    assert classifier.labels == CLASSES
    assert found.probabilities.argmax(1).tolist() == wanted.tolist()
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.features, load_picture_encoder("thumbnail").features(new))
    seen, read = encoder.encode_images(new), encoder.encode_texts(SENTENCES)
    assert (seen @ read.T).argmax(1).tolist() == wanted.tolist()  # "turbines" is read as "turbine"
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.score(new[:1], SENTENCES[:1]), (seen[0] * read[0]).sum(), atol=1e-6)
    assert not encoder.encode_texts(["zebra crossing"]).any()
    np.testing.assert_allclose(encoder.features(new, 5), encoder.features(new), atol=1e-5)
    np.testing.assert_array_equal(load_picture_encoder(judge.out).features(new), encoder.features(new))


def test_its_folder_holds_what_filters_ask_for(judge):
    out, figures = judge.out, load_judge_figures(judge.out)
    assert figures == judge.figures
    assert (figures.accuracy.value, figures.accuracy.n, round(figures.chance, 3)) == (1.0, 18, 0.333)
    assert {label: one.n for label, one in figures.classes.items()} == dict.fromkeys(CLASSES, 6)
    for name in ("calibration.json", "scene-calibration.json"):
        calibration = Calibration.load(out / name)
        assert (calibration.pictures, calibration.encoder["content"]) == (18, load_encoder(out).identity()["content"])
    assert load_encoder(out).calibration.threshold("solar_farm", 0.9) > 0
    known = load_knowledge(out)
    assert known.classes == CLASSES
    assert known.unread("flooded villages beside a zebra") == ("beside", "zebra")
    card = (out / "README.md").read_text()
    for said in ("54 images to fit to, 18 held out", "of 72 images drafted from the names", "Report with another judge",
                 "pass_real: 0.94", "No held-out image was taken for one of another class"):
        assert said in card
    lines = judge.lines()
    none = 'of 3 classes it cannot say "none": an image that shows nothing at all is given to one of them'
    assert none in card
    assert [line for line in lines if line.startswith(f"limit      {none}")]
    assert "accuracy   1.000" in "\n".join(lines)
    assert any(line.startswith(f"next       terrasynth eval RUN --real {judge.data[0]} --encoder") for line in lines)


def test_a_second_judge_asks_for_no_third(judge, tmp_path):
    shutil.copytree(judge.out, tmp_path / "J")
    alone, second = replace(judge, out=tmp_path / "K-2"), replace(judge, out=tmp_path / "J-2")
    assert any(f"--out {tmp_path}/K-2-2   # a second judge" in line for line in alone.lines())
    found = [line for line in second.lines() if line.startswith("next ")]
    real = "".join(f"--real {each} " for each in judge.data)
    assert found == [f"next       terrasynth eval RUN {real}--encoder {tmp_path}/J-2 --classifier {tmp_path}/J-2"
                     f"   # reports on what {tmp_path}/J chose"]


def test_figures_call_it_by_its_folder(judge):
    content = load_encoder(judge.out).identity()["content"]
    for model in (load_encoder(judge.out), load_classifier(judge.out), CachedEncoder(load_encoder(judge.out), None)):
        assert network_name(network_of(model)) == f"{judge.out.name} {content}"
        assert "called" not in model.identity()
    assert network_name(network_of(load_encoder("clip-ucm"))).startswith("clip-ucm ")


def test_the_same_data_give_the_same_bytes(judge, data, tmp_path, capsys):
    again = run_preset("judge", data, tmp_path / "J", overrides=FAST, encoder="thumbnail")
    assert capsys.readouterr().err.splitlines() == [
        "reading 54 images to fit to and 18 held out", "features of 54 images by thumbnail, 8 views each",
        "features of 432 of 432 views", "fitting the head for scenes on thumbnail",
        "fitting the head for words on thumbnail", "measuring on 18 held-out images"]
    assert files(again.out) == files(judge.out)
    other = run_preset("judge", data, tmp_path / "other", overrides=FAST | {"loop.seed": 1}, encoder="thumbnail")
    assert files(other.out)["heads.safetensors"] != files(judge.out)["heads.safetensors"]


def test_one_that_is_there_is_taken_as_it_is_and_another_is_not_replaced_in_silence(judge, data, tmp_path, capsys):
    out = shutil.copytree(judge.out, tmp_path / "J")
    before = files(out)

    def again(overrides=FAST, encoder="thumbnail", data=data, **more):
        return run_preset("judge", data, out, overrides=overrides, encoder=encoder, **more)

    found = again()
    assert "this judge is finished, and nothing is left to do; --restart makes it anew" in capsys.readouterr().err
    assert (found.figures, found.lines()[1:-2]) == (judge.figures, [
        line.replace(str(judge.out), str(out)) for line in judge.lines()[1:-2]])
    with pytest.raises(InputError, match=r"J holds another judge: encoder: was thumbnail, now .*tiny; load_size: was "
                                         r"32, now 40; model.steps: was 60, now 50; use --restart to replace it"):
        again(FAST | {"model.steps": 50, "load_size": 40}, str(tiny_scene(tmp_path / "tiny", ["a", "b"])))
    fewer = class_folders(tmp_path / "fewer", 6)
    with pytest.raises(InputError, match=r"data: was mine \(54 images to fit to, 18 held out\), now fewer \(12 "):
        again(data=fewer)
    assert files(out) == before
    (out / "scene-calibration.json").unlink()  # then it is not whole, and made again
    assert files(again().out) == before
    (out / "judge.json").write_text((out / "judge.json").read_text().replace("solar_farm", "forest"))
    with pytest.raises(InputError, match=r"J is not what was written; use --restart to make it anew"):
        again()
    assert files(again(resume=False).out) == before
    (out / ".training" / "judge-made-from.json").unlink()
    with pytest.raises(InputError, match=r"J holds a judge that does not say what it was made from.*--restart"):
        again(FAST | {"loop.seed": 1})


def test_one_that_was_cut_off_is_in_nobodys_way(data, tmp_path, monkeypatch):
    monkeypatch.setattr("terrasynth.training.judges.run._measure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_preset("judge", data, tmp_path / "J", overrides=FAST, encoder="thumbnail")
    (tmp_path / "J" / "judge.json").unlink()
    monkeypatch.undo()
    made = run_preset("judge", data, tmp_path / "J", overrides=FAST | {"model.dim": 9}, encoder="thumbnail")
    assert made.figures.accuracy.n == 18


def test_nothing_is_learned_from_what_is_held_out(tmp_path):
    made = []
    for number in range(2):
        folder = class_folders(tmp_path / str(number) / "train", 6).parent
        class_folders(folder / "val", 5, seed=number + 1)
        made.append(run_preset("judge", folder, tmp_path / f"J{number}", overrides=FAST, encoder="thumbnail").out)
    assert load_judge_figures(made[0]).split == "val"
    first, second = map(files, made)
    assert first["heads.safetensors"] == second["heads.safetensors"]
    assert first["calibration.json"] != second["calibration.json"]


def test_few_images_are_told_as_such(tmp_path):
    few = run_preset("judge", class_folders(tmp_path / "few", 4), tmp_path / "J", overrides=FAST, encoder="thumbnail")
    assert [one.alignment for one in few.figures.classes.values()] == [None] * 3
    assert any("nothing is said of flooded_village (1), solar_farm (1), wind_turbine (1): fewer than 5" in line
               for line in few.lines())
    assert [pass_real(count) for count in (1, 3, 18, 200)] == [None, 0.66, 0.94, 0.95]


def test_a_network_of_files_is_copied_and_has_to_stay(data, tmp_path):
    network = tiny_scene(tmp_path / "net", ["a", "b"])
    made = run_preset("judge", data, tmp_path / "J", overrides=FAST, encoder=str(network))
    shutil.rmtree(network)
    assert load_classifier(made.out).labels == CLASSES
    (made.out / "backbone" / "preprocessor_config.json").write_text("{}")
    with pytest.raises(EvalInputError, match=r"its heads were trained on backbone .*make it again"):
        load_encoder(made.out)


def test_each_head_is_calibrated_in_a_file_of_its_own(judge, data, terrasynth, tmp_path):
    out = shutil.copytree(judge.out, tmp_path / "J")
    before = files(out)
    (tmp_path / "d.yaml").write_text(f"data: {data}\ncaption: 'an aerial image of {{label}}'\n")
    code, _, err = terrasynth("eval", "calibrate", tmp_path / "d.yaml", "--split", "train", "--size", SIDE,
                              "--classifier", out, "--out", out)
    assert code == 0, err
    after = files(out)
    assert after["calibration.json"] == before["calibration.json"]
    assert Calibration.load(out / "scene-calibration.json").pictures == 72


@pytest.mark.parametrize(("name", "content", "said"), [
    ("judge.json", "{}", "describes no judge"), ("heads.safetensors", "x", "heads.safetensors cannot be read"),
])
def test_a_broken_folder_is_refused(name, content, said, judge, tmp_path):
    broken = shutil.copytree(judge.out, tmp_path / "J")
    (broken / name).write_text(content)
    with pytest.raises(EvalInputError, match=f"{said}.*terrasynth train judge"):
        load_classifier(broken)


def test_a_head_of_another_size_is_refused(judge, tmp_path):
    broken = shutil.copytree(judge.out, tmp_path / "J")
    about = json.loads((broken / "judge.json").read_text())
    (broken / "judge.json").write_text(json.dumps(about | {"labels": ["a", "b"]}))
    with pytest.raises(EvalInputError, match=r"scene is \(768, 3\), and \(768, 2\) is needed"):
        load_classifier(broken)


def test_wrong_input_is_one_line(judge, data, terrasynth, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    one = shutil.copytree(data / CLASSES[0], tmp_path / "one" / CLASSES[0]).parent
    out = ("--out", tmp_path / "J")
    for arguments, said in (
        (("judge", "--data", data, "--out", tmp_path / "full"), "exists and holds no judge; give a new folder"),
        (("judge", "--data", one, *out), "tells classes apart, and the data names one class, 'flooded_village'"),
        (("judge", "--data", data, *out, "--encoder", judge.out), "is a judge, which has a network below its heads"),
        (("judge", "--data", data, *out, "--minutes", "3"), "has no time budget; leave --minutes out"),
        (("scene-ucm", "--data", data, *out, "--encoder", "clip-ucm"), "makes no judge; leave --encoder out"),
        (("judge", "--data", data, *out, "--set", "model.depth=2"), "depth"),
    ):
        code, _, err = terrasynth("train", *arguments)
        assert (code, len([line for line in err if "error" in line])) == (2, 1)
        assert said in err[-1]


def test_areas_are_shares_of_pairs():
    draw = np.random.default_rng(0)
    labels = ["a"] * 6 + ["b"] * 5 + ["c"] * 2
    probabilities = draw.dirichlet(np.ones(3), 13).astype(np.float32)
    seen, read = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in draw.normal(size=(2, 20, 4)).astype(np.float32))
    image_of = np.array([*range(13), *range(7)])
    found = measure_judge(probabilities, probabilities, seen[:13], read, image_of, labels, "abc", split="val", side=8)
    scores, place = seen[:13] @ read.T, np.array(["abc".index(label) for label in labels])
    for number, label in enumerate("ab"):
        own, rest = np.flatnonzero(place == number), np.flatnonzero(place != number)
        wins = [probabilities[i, number] > probabilities[j, number] for i in own for j in rest]
        assert found.classes[label].scene.value == pytest.approx(np.mean(wins))
        texts = [t for t in range(20) if place[image_of[t]] == number]
        each = [np.mean([scores[i, t] > scores[j, u] for t in texts if image_of[t] == i for j in rest for u in texts])
                for i in own]
        assert found.classes[label].alignment.value == pytest.approx(np.mean(each))
        assert found.classes[label].alignment.n == len(own)
    assert found.classes["c"].scene is None
    assert found.classes["c"].n == 2
