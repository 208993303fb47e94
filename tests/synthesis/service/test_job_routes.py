"""Jobs over HTTP: made once, listed, canceled, retried, forgotten; and what a wrong request is told."""

from __future__ import annotations

import pytest

from terrasynth.synthesis.recipe import SHIPPED
from terrasynth.synthesis.service.places import draws_folder, log_file
from terrasynth.synthesis.service.states import State

RECIPE = {"generator": {"model": "ldm-ucm"}, "prompts": {"classes": ["beach"]}}
JOB = {"kind": "run", "data_set": "coast", "recipe": RECIPE}


def created(client, **further):
    answer = client.post("/v1/jobs", json=JOB | further)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_job_is_durable_when_the_answer_comes(client, job_store):
    answer = client.post("/v1/jobs", json=JOB)
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job_store.get(job["id"]).spec["recipe"] == RECIPE
    assert client.get(f"/v1/jobs/{job['id']}").json() == job
    assert (job["state"], job["data_set"], job["kind"]) == ("queued", "coast", "run")


def test_the_same_key_gets_the_same_job(client):
    headers = {"Idempotency-Key": "first-try"}
    first = client.post("/v1/jobs", json=JOB, headers=headers)
    again = client.post("/v1/jobs", json=JOB, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = client.post("/v1/jobs", json=JOB | {"data_set": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


def test_pages_of_jobs_give_each_once_the_newest_first(client):
    made = [created(client, data_set=f"set-{number}")["id"] for number in range(7)]
    found, before = [], None
    while True:
        page = client.get("/v1/jobs", params={"limit": 3, **({"before": before} if before else {})}).json()
        found += [job["id"] for job in page["jobs"]]
        before = page["next"]
        if before is None:
            break
    assert found == made[::-1]
    assert [job["data_set"] for job in client.get("/v1/jobs", params={"data_set": "set-3"}).json()["jobs"]] == ["set-3"]
    assert client.get("/v1/jobs", params={"state": "running"}).json()["jobs"] == []
    assert client.get("/v1/jobs", params={"kind": "export"}).json()["jobs"] == []


def test_cancel_retry_forget(client, runs):
    job = created(client)["id"]
    assert client.delete(f"/v1/jobs/{job}").status_code == 409
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 409
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "canceled"
    assert client.post(f"/v1/jobs/{job}/retry").json()["state"] == "queued"
    client.post(f"/v1/jobs/{job}/cancel")
    log = log_file(runs, job)
    log.parent.mkdir(exist_ok=True)
    log.write_text("what it printed\n")
    assert client.get(f"/v1/jobs/{job}/log").text == "what it printed\n"
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert not log.exists()


def test_a_log_shows_no_secret(client, runs):
    job = created(client)["id"]
    log_file(runs, job).parent.mkdir(exist_ok=True)
    log_file(runs, job).write_text("asking with Authorization: Bearer abcdefghijklmnop\n")
    assert "abcdefghijklmnop" not in client.get(f"/v1/jobs/{job}/log").text


def test_images_of_a_job_go_by_number(client, runs):
    job = client.post("/v1/jobs", json={"kind": "draw", "prompts": ["a"], "seeds": [1]}).json()["id"]
    draws_folder(runs, job).mkdir(parents=True)
    (draws_folder(runs, job) / "0.png").write_bytes(b"png")
    assert client.get(f"/v1/jobs/{job}/images/0").content == b"png"
    assert client.get(f"/v1/jobs/{job}/images/1").json()["code"] == "unknown_image"


@pytest.mark.parametrize(("body", "said"), [
    ({"kind": "runs"}, "input tag 'runs'"),
    (JOB | {"data_set": "../up"}, "data_set '../up' is wrong"),
    (JOB | {"colour": 1}, "unknown key"),
    (JOB | {"recipe": {"generatr": {}}}, "unknown key 'generatr' (did you mean 'generator'?)"),
    (JOB | {"recipe": RECIPE | {"filters": [{"kind": "blur"}]}}, "filters.0.kind 'blur' is no filter"),
    ({"kind": "run", "data_set": "nowhere"}, "data set 'nowhere' does not exist"),
    ({"kind": "export", "data_set": "nowhere", "format": "coco", "out": "x"}, "data set 'nowhere' does not exist"),
    ({"kind": "expand", "expander": "gramar"}, "expander 'gramar' is unknown (did you mean 'grammar'?)"),
    ({"kind": "draw", "prompts": ["a"], "seeds": [1, 2]}, "2 seeds for 1 prompt;"),
])
def test_a_wrong_job_is_told_what_is_wrong_on_one_line(client, body, said):
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert said in problem["detail"]
    assert "\n" not in problem["detail"]
    assert (problem["status"], problem["type"]) == (answer.status_code, "about:blank")
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_what_does_not_exist_is_a_problem_document(client):
    answer = client.get("/v1/jobs/" + "0" * 26)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")
    assert client.get("/nothing").json()["title"] == "Not Found"
    assert client.put("/v1/jobs").status_code == 405


def test_metrics_count_requests_by_route_and_jobs_by_state(client):
    created(client)
    client.get("/v1/jobs/" + "0" * 26)
    text = client.get("/metrics").text
    assert 'terrasynth_requests_total{method="POST",route="/v1/jobs",status="201"} 1.0' in text
    assert 'terrasynth_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"} 1.0' in text
    assert 'terrasynth_jobs{state="queued"} 1.0' in text
    assert all(f'terrasynth_jobs{{state="{state}"}}' in text for state in State)


def test_a_plan_that_nobody_makes_is_waited_for_no_longer_than_asked(client):
    answer = client.post("/v1/plans", json={"recipe": RECIPE}, params={"wait": 0.1})
    assert answer.status_code == 202
    assert answer.json()["job"]["state"] == "queued"


def test_the_reason_of_a_failed_plan_is_the_answer(client, job_store):
    import threading

    def fail():
        while (lease := job_store.lease("test", 60, ["plan"])) is None:
            pass
        job_store.begin(lease)
        job_store.finish(lease, State.FAILED, error="class 'foo' does not exist")

    worker = threading.Thread(target=fail)
    worker.start()
    answer = client.post("/v1/plans", json={"recipe": RECIPE}, params={"wait": 30})
    worker.join()
    assert (answer.status_code, answer.json()["detail"]) == (422, "class 'foo' does not exist")


def test_models_are_listed_as_openai_does_and_recipes_as_they_are_shipped(client):
    models = {model["id"]: model for model in client.get("/v1/models").json()["data"]}
    assert models["ldm-ucm"]["kind"] == "generator"
    assert models["clip-ucm"]["kind"] == "evaluator"
    assert models["cap-rs"]["kind"] == "captioner"
    assert models["vae-rs"]["kind"] == "autoencoder"
    assert client.get("/v1/models/ldm-ucm").json() == models["ldm-ucm"]
    assert client.get("/v1/models/owner/name").status_code == 404
    assert client.get("/v1/recipes").json() == {"recipes": sorted(path.stem for path in SHIPPED.glob("*.yaml"))}
    assert client.get("/v1/recipes/demo").json()["name"] == "terrasynth-demo"
    assert "generator" in client.get("/v1/recipes/schema").json()["properties"]


def test_a_body_that_is_no_json_is_told_so(client):
    answer = client.post("/v1/jobs", content='{"kind": "run",', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["detail"].startswith("the body is no JSON (")
    assert answer.json()["detail"].endswith(" at character 15); send a JSON object")


def test_what_a_job_drew_goes_with_it(client, runs):
    job = client.post("/v1/jobs", json={"kind": "draw", "model": "ldm-ucm", "prompts": ["a beach"],
                                        "seeds": [1]}).json()["id"]
    folder = draws_folder(runs, job)
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(b"an image")
    client.post(f"/v1/jobs/{job}/cancel")
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert not folder.exists()
