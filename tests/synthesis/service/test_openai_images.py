"""Images for the clients of OpenAI's interface, asked for by their own library and drawn by a real worker."""

from __future__ import annotations

import base64
import io
import threading
from dataclasses import replace

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from terrasynth.synthesis.service import children
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.supervisor import Supervisor, WorkSettings
from tests.synthesis.service.web import TOKEN, web_server

PROMPT = "A dense forest."


@pytest.fixture
def place(settings, job_store, models):
    """A server with a token and the tiny models inside its folder; no worker."""
    guarded = replace(settings, token=TOKEN, places=Places(models.generator.parent), wait_seconds=300)
    with web_server(guarded, job_store) as address:
        yield address


@pytest.fixture
def worker(settings, job_store, models, started_at_once):
    """A worker beside the server."""
    stop = threading.Event()
    supervisor = Supervisor(WorkSettings(settings.runs, places=Places(models.generator.parent)), job_store)
    thread = threading.Thread(target=supervisor.run, args=(stop,))
    with started_at_once(children):
        thread.start()
        yield
        stop.set()
        thread.join()


@pytest.fixture
def client(place):
    with openai.OpenAI(base_url=f"{place}/v1", api_key=TOKEN, max_retries=0, timeout=300) as made:
        yield made


def test_images_are_those_that_the_generator_draws(client, worker, models):
    from terrasynth.synthesis import load_generator

    answer = client.images.generate(
        model="sd", prompt=PROMPT, n=2, size="32x32", response_format="b64_json",
        extra_body={"seed": 7, "steps": 2, "guidance": 3.0})
    drawn = load_generator(str(models.generator), steps=2, guidance=3.0, height=32, width=32).generate(
        [PROMPT, PROMPT], seeds=[7, 8])
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(each.b64_json)))) for each in answer.data]
    assert np.array_equal(np.stack(images), drawn)
    assert [each.seed for each in answer.data] == [7, 8]
    assert (answer.size, answer.output_format) == ("32x32", "png")
    by_default = client.images.generate(model="sd", prompt=PROMPT, extra_body={"steps": 1})
    assert len(by_default.data) == 1
    with pytest.raises(openai.UnprocessableEntityError, match="tokens and"):
        client.images.generate(model="sd", prompt="many words " * 200)
    assert {model.id for model in client.models.list()} >= {"ldm-ucm", "sd"}


@pytest.mark.parametrize(("given", "said"), [
    ({"model": "dall-e-3"}, "model 'dall-e-3' is neither embedded"),
    ({"model": "/etc"}, "a request names no path"),
    ({"size": "big"}, "size 'big' is wrong"),
    ({"size": "99999x99999"}, "is beyond"),
    ({"n": 17}, "n 17 is wrong"),
    ({"response_format": "url"}, "response_format 'url' is wrong"),
    ({"quality": "hd"}, "quality 'hd' is wrong"),
    ({"output_format": "webp"}, "output_format 'webp' is wrong"),
    ({"extra_body": {"style": "vivid"}}, "unknown key 'style'"),
    ({"extra_body": {"seed": -1}}, "seed -1 is wrong"),
])
def test_what_cannot_be_had_is_an_error_of_that_library(client, job_store, given, said):
    with pytest.raises(openai.UnprocessableEntityError) as error:
        client.images.generate(**{"model": "sd", "prompt": PROMPT} | given)
    assert said in error.value.message
    assert error.value.body["type"] == "invalid_request_error"
    assert said in error.value.body["message"]
    assert not job_store.list()


def test_a_wrong_key_is_an_error_of_that_library(place):
    with pytest.raises(openai.AuthenticationError, match="token of this server"):
        openai.OpenAI(base_url=f"{place}/v1", api_key="x" * 20, max_retries=0).images.generate(
            model="sd", prompt=PROMPT)


def test_a_client_that_leaves_cancels_its_job(place, job_store):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{place}/v1/images/generations", json={"model": "sd", "prompt": PROMPT}, timeout=1,
                   headers={"Authorization": f"Bearer {TOKEN}"})
    (job,) = job_store.list()
    while job_store.get(job.id).state != "canceled":
        pass


def test_a_client_that_waits_too_short_is_told_so(place, job_store):
    answer = httpx.post(f"{place}/v1/images/generations", json={"model": "sd", "prompt": PROMPT}, params={"wait": 0.1},
                        headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (429, "slow")
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert [job.state for job in job_store.list()] == ["canceled"]
