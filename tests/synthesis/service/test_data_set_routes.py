"""Data sets over HTTP: what there is, rows by page and filter, images, provenance, and what is deleted."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from terrasynth.eval.pages.run_images import script_source
from terrasynth.synthesis import Recipe
from terrasynth.synthesis.service.specs import parse_spec
from tests.synthesis.helpers import decisions
from tests.synthesis.service.web import tiny_recipe


def rows_of(client, **query):
    answer = client.get("/v1/data-sets/tiny/rows", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def all_rows(client, limit, **query):
    found, after = [], None
    while True:
        page = rows_of(client, limit=limit, **query, **({"after": after} if after else {}))
        found += page["rows"]
        after = page["next"]
        if after is None:
            return found
        assert len(page["rows"]) == limit


def test_a_finished_data_set_is_listed_as_its_files_say(client, data_set):
    (found,) = client.get("/v1/data-sets").json()["data_sets"]
    assert found == client.get("/v1/data-sets/tiny").json()
    table = decisions(data_set)
    assert (found["name"], found["state"], found["title"]) == ("tiny", "finished", "tiny")
    assert found["accepted"] == sum(row["accepted"] for row in table) == found["target"]
    assert found["drawn"] == len(table)
    assert [each["label"] for each in found["classes"]] == ["beach", "forest", "river"]


def test_a_run_without_its_note_was_stopped(client, data_set):
    (data_set / "finished.json").unlink()
    assert client.get("/v1/data-sets/tiny").json()["state"] == "stopped"


def test_a_job_is_the_state_of_its_data_set(client, data_set, job_store):
    job, _ = job_store.create(parse_spec({"kind": "run", "data_set": "tiny"}))
    found = client.get("/v1/data-sets/tiny").json()
    assert (found["state"], found["job"]) == ("queued", job.id)


def test_a_run_that_another_process_holds_is_busy(client, data_set):
    from terrasynth.synthesis.core.files import locked

    (data_set / "finished.json").unlink()
    with locked(data_set):
        assert client.get("/v1/data-sets/tiny").json()["state"] == "busy"
    assert client.get("/v1/data-sets/tiny").json()["state"] == "stopped"


def test_a_damaged_data_set_is_named_and_hides_no_other(client, data_set, runs):
    shutil.copytree(data_set, runs / "other")
    (data_set / "identity.json").write_text("{}")
    found = {each["name"]: each for each in client.get("/v1/data-sets").json()["data_sets"]}
    assert found["other"]["state"] == "finished"
    assert found["tiny"]["state"] == "damaged"
    assert "identity.json" in found["tiny"]["error"]


@pytest.mark.parametrize("limit", [3, 7, 500])
def test_pages_give_every_row_once_in_the_order_of_the_run(client, data_set, limit):
    table = decisions(data_set)
    found = all_rows(client, limit)
    assert [(row["id"], row["label"], row["k"], row["reason"]) for row in found] == [
        (row["id"], row["label"], row["k"], row["reason"]) for row in table]
    for row, known in zip(found, table, strict=True):
        assert (row["verdict"] == "accepted") == known["accepted"]
        wanted = {name: score for name, score in known["scores"].items() if score is not None}
        assert row["scores"] == pytest.approx(wanted)


def test_texts_are_those_of_the_blocks(client, data_set):
    stored = {}
    for path in (data_set / "blocks").rglob("*.parquet"):
        stored.update(zip(*pq.read_table(path, columns=["id", "text"]).to_pydict().values(), strict=True))
    assert {row["id"]: row["text"] for row in rows_of(client)["rows"]} == stored


@pytest.mark.parametrize(("query", "holds"), [
    ({"label": "forest"}, lambda row: row["label"] == "forest"),
    ({"verdict": "accepted"}, lambda row: row["accepted"]),
    ({"verdict": "rejected"}, lambda row: row["reason"] in ("alignment", "duplicate")),
    ({"verdict": "unjudged"}, lambda row: row["reason"] == "beyond_target"),
    ({"reason": "alignment"}, lambda row: row["reason"] == "alignment"),
    ({"label": "river", "verdict": "accepted"}, lambda row: row["label"] == "river" and row["accepted"]),
])
def test_filters(client, data_set, query, holds):
    wanted = [row["id"] for row in decisions(data_set) if holds(row)]
    assert wanted
    assert [row["id"] for row in all_rows(client, 2, **query)] == wanted


def test_text_is_looked_for_without_case_and_without_wildcards(client, data_set):
    everything = rows_of(client)["rows"]
    word = everything[0]["text"].split()[-1].strip(".").upper()
    wanted = [row["id"] for row in everything if word.lower() in row["text"].lower()]
    assert wanted
    assert [row["id"] for row in all_rows(client, 2, text=word)] == wanted
    assert rows_of(client, text="%")["rows"] == []


@pytest.mark.parametrize("order", ["class", "score"])
def test_scores_between_two_limits(client, data_set, order):
    table = [row for row in decisions(data_set) if row["scores"]["alignment"] is not None]
    low, high = np.quantile([row["scores"]["alignment"] for row in table], [0.25, 0.75])
    wanted = [row for row in table if low <= row["scores"]["alignment"] <= high]
    assert 0 < len(wanted) < len(table)
    found = all_rows(client, 2, filter="alignment", least=float(low), most=float(high), order=order)
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in wanted)
    if order == "score":
        scores = [row["scores"]["alignment"] for row in found]
        assert scores == sorted(scores)


def test_the_newest_come_first(client, data_set):
    found = all_rows(client, 4, order="newest")
    times = {path.parent.name + path.stem: path.stat().st_mtime_ns for path in (data_set / "blocks").rglob("*.parquet")}
    written = [times[f"{row['label']}{row['k'] // 4:05d}"] for row in found]
    assert written == sorted(written, reverse=True)


@pytest.mark.parametrize(("query", "said"), [
    ({"label": "forrest"}, "class 'forrest' does not exist (did you mean 'forest'?)"),
    ({"reason": "nearness"}, "reason 'nearness' does not exist"),
    ({"filter": "quality", "least": 0}, "filter 'quality' does not exist"),
    ({"least": 0}, "no filter is named"),
    ({"after": "score:1:2"}, "is no `next`"),
    ({"order": "score"}, "no filter is named"),
])
def test_what_a_data_set_has_not_is_named(client, data_set, query, said):
    answer = client.get("/v1/data-sets/tiny/rows", params=query)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_an_image_is_what_the_block_holds(client, data_set):
    rows = rows_of(client)["rows"]
    path = next((data_set / "blocks" / rows[5]["label"]).glob(f"{rows[5]['k'] // 4:05d}.parquet"))
    stored = {row["id"]: row["image"]["bytes"] for row in pq.read_table(path, columns=["id", "image"]).to_pylist()}
    answer = client.get(f"/v1/data-sets/tiny/images/{rows[5]['id']}")
    assert answer.content == stored[rows[5]["id"]]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert Image.open(io.BytesIO(answer.content)).size == (32, 32)
    again = client.get(f"/v1/data-sets/tiny/images/{rows[5]['id']}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_provenance_draws_the_image_again_by_a_command(client, models, runs, tmp_path, terrasynth):
    from terrasynth.synthesis import run

    recipe = tiny_recipe(models) | {"filters": [], "runtime": {}, "target": {"per_class": 1, "max_attempts": 1}}
    run(Recipe.parse(recipe), runs / "tiny")
    row = rows_of(client, verdict="accepted")["rows"][0]
    found = client.get(f"/v1/data-sets/tiny/rows/{row['id']}").json()
    assert found["row"] == row
    assert found["captions"][0] == row["text"]
    assert (found["generator"]["steps"], found["generator"]["guidance"]) == (2, 3.0)
    program, *words = shlex.split(found["command"])
    assert program == "terrasynth"
    out = tmp_path / "again"
    code, _, errors = terrasynth(*[word.replace("--out=again", f"--out={out}") for word in words])
    assert code == 0, errors
    stored = client.get(f"/v1/data-sets/tiny/images/{row['id']}").content
    drawn = np.asarray(Image.open(next(out.glob("*.png"))))
    assert np.array_equal(drawn, np.asarray(Image.open(io.BytesIO(stored))))


def test_provenance_is_python_where_the_command_has_no_option_for_it(client, data_set):
    from terrasynth import load_generator

    row = rows_of(client, verdict="accepted")["rows"][0]
    line = client.get(f"/v1/data-sets/tiny/rows/{row['id']}").json()["command"]
    assert "dtype='float32'" in line
    (drawn,) = eval(line, {"load_generator": load_generator})
    stored = client.get(f"/v1/data-sets/tiny/images/{row['id']}").content
    assert np.array_equal(drawn, np.asarray(Image.open(io.BytesIO(stored))))


def test_counts_and_scores_are_those_of_the_decisions(client, data_set):
    table = decisions(data_set)
    counts = client.get("/v1/data-sets/tiny/counts").json()["counts"]
    assert sum(each["rows"] for each in counts) == len(table)
    for each in counts:
        same = [row for row in table if (row["label"], row["reason"]) == (each["label"], each["reason"])]
        assert each["rows"] == len(same)
    scores = client.get("/v1/data-sets/tiny/scores", params={"filter": "alignment", "bins": 5}).json()
    known = [row["scores"]["alignment"] for row in table if row["scores"]["alignment"] is not None]
    assert (scores["low"], scores["high"]) == pytest.approx((min(known), max(known)))
    wanted, _ = np.histogram(known, 5)
    assert np.sum([each["rows"] for each in scores["classes"]], axis=0).tolist() == wanted.tolist()


def test_a_run_that_goes_on_shows_its_new_rows(client, data_set, tree, models):
    from terrasynth.synthesis import run

    before = rows_of(client, limit=500)["rows"]
    recipe = client.get("/v1/data-sets/tiny/recipe").json()
    recipe["target"]["per_class"] = 9
    run(Recipe.parse(recipe), data_set)
    after = rows_of(client, limit=500)["rows"]
    table = decisions(data_set)
    assert len(after) == len(table) > len(before)
    assert {row["id"]: row["reason"] for row in after} == {row["id"]: row["reason"] for row in table}


def test_blocks_without_decisions_are_pending(client, data_set):
    (data_set / "decisions.parquet").unlink()
    (data_set / "finished.json").unlink()
    found = rows_of(client)["rows"]
    assert found
    assert {row["verdict"] for row in found} == {"pending"}
    assert all(row["text"] for row in found)


def test_a_block_that_was_damaged_and_made_again_is_whole_again(client, data_set):
    before = rows_of(client)["rows"]
    block = next((data_set / "blocks" / "beach").glob("*.parquet"))
    kept = block.read_bytes()
    block.unlink()
    assert len(rows_of(client)["rows"]) == len(before) - 4
    block.write_bytes(kept)
    assert rows_of(client)["rows"] == before


def test_the_index_is_made_again_where_it_is_lost(client, data_set, runs):
    before = rows_of(client)
    for path in (runs / ".service" / "index").iterdir():
        path.unlink()
    assert rows_of(client) == before


def test_another_run_under_the_same_name_is_another(client, data_set, models, runs):
    from terrasynth.synthesis import run

    before = {row["id"] for row in rows_of(client)["rows"]}
    recipe = yaml.safe_load((data_set / "recipe.yaml").read_text())
    shutil.rmtree(data_set)
    recipe.pop("identity")
    run(Recipe.parse({**recipe, "seed": 5}), data_set)
    assert not before & {row["id"] for row in rows_of(client)["rows"]}


def test_the_verdicts_that_a_job_tells_are_shown_before_they_are_written(client, data_set, job_store):
    told = {}
    for row in decisions(data_set):
        told.setdefault((row["label"], row["k"] // 4), []).append(row["reason"])
    (data_set / "decisions.parquet").unlink()
    (data_set / "finished.json").unlink()
    job_store.create(parse_spec({"kind": "run", "data_set": "tiny"}))
    lease = job_store.lease("test", 60, ["run"])
    (label, index), reasons = next(iter(told.items()))
    job_store.append(lease, "block", {"label": label, "index": index, "verdicts": reasons})
    found = rows_of(client, label=label)["rows"]
    assert [row["reason"] for row in found[index * 4:index * 4 + 4]] == reasons
    assert {row["verdict"] for row in found[:index * 4] + found[index * 4 + 4:]} == {"pending"}


def test_a_recipe_comes_as_a_job_takes_it(client, data_set):
    tree = client.get("/v1/data-sets/tiny/recipe").json()
    assert Recipe.parse(tree) == Recipe.load(data_set / "recipe.yaml")
    text = client.get("/v1/data-sets/tiny/recipe", params={"format": "yaml"})
    assert text.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(text.text) == tree


def test_card_and_report_are_the_files(client, data_set):
    assert client.get("/v1/data-sets/tiny/card").content == (data_set / "README.md").read_bytes()
    names = client.get("/v1/data-sets/tiny/report").json()["files"]
    assert set(names) == {path.name for path in (data_set / "report").iterdir()}
    page = client.get("/v1/data-sets/tiny/report/index.html")
    assert page.content == (data_set / "report" / "index.html").read_bytes()
    assert f"script-src {script_source()};" in page.headers["content-security-policy"]
    sheet = client.get("/v1/data-sets/tiny/report/images-beach-00000.jpg")
    assert (sheet.headers["content-type"], sheet.content) == (
        "image/jpeg", (data_set / "report" / "images-beach-00000.jpg").read_bytes())
    for link in re.findall(r'href="\.\./([^"]*)"', page.text):  # those of the page lead somewhere
        assert client.get(f"/v1/data-sets/tiny/{link}").status_code == 200, link
    assert yaml.safe_load(client.get("/v1/data-sets/tiny/recipe.yaml").text)["name"] == "tiny"
    assert client.get("/v1/data-sets/nothing/recipe.yaml").status_code == 404
    assert client.get("/v1/data-sets/tiny/report/nothing.html").status_code == 404


def test_deleting_wants_the_name_twice_and_no_job(client, data_set, job_store, runs):
    assert client.delete("/v1/data-sets/tiny").status_code == 422
    assert client.delete("/v1/data-sets/tiny", params={"confirm": "tin"}).status_code == 422
    job, _ = job_store.create(parse_spec({"kind": "run", "data_set": "tiny"}))
    busy = client.delete("/v1/data-sets/tiny", params={"confirm": "tiny"})
    assert (busy.status_code, job.id in busy.json()["detail"]) == (409, True)
    assert data_set.is_dir()
    job_store.cancel(job.id)
    rows_of(client)
    assert client.delete("/v1/data-sets/tiny", params={"confirm": "tiny"}).status_code == 204
    assert not data_set.exists()
    assert list((runs / ".service" / "deleted").iterdir()) == []
    assert list((runs / ".service" / "index").iterdir()) == []
    assert client.get("/v1/data-sets/tiny").status_code == 404


def test_a_data_set_that_another_process_writes_is_not_deleted(client, data_set):
    from terrasynth.synthesis.core.files import locked

    with locked(data_set):
        answer = client.delete("/v1/data-sets/tiny", params={"confirm": "tiny"})
    assert "in use by another process" in answer.json()["detail"]
    assert json.loads((data_set / "identity.json").read_text())
