"""An endpoint that sends too much, too slowly, elsewhere, or back what it was told: one line, and nothing kept."""

import gzip
import json
import time

import pytest

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.language_models.exchange import LARGEST_ANSWER, LARGEST_HEADERS, LARGEST_REFUSAL
from tests.prompts import chat_server as says
from tests.prompts.asking_server import KEY, make, texts


def raw(handler, status, data, pause=0.0, part=1 << 16, **headers):
    """Send an answer in parts with pauses between them, until the other side has had enough."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    try:
        for start in range(0, len(data), part):
            handler.wfile.write(data[start : start + part])
            handler.wfile.flush()
            if handler.server.stopped.wait(pause):
                return
    except OSError:
        pass


def answer(*captions):
    return json.dumps({"choices": [{"finish_reason": "stop", "message": {
        "content": json.dumps({"captions": list(captions)})}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


def sending(status, data, **settings):
    return lambda handler, body: raw(handler, status, data, **settings)


def refused(server, folder, act, **options):
    server.script = [act] * 8
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        texts(make(server, folder, retries=0, **options), count=4)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 60
    return str(caught.value)


def test_a_redirect_is_named_and_nothing_is_sent_there(server, tmp_path):
    with says.serving() as other:
        for status in (301, 307, 308):
            target = other.url.replace("http://", "http://user:pa55word@") + "/chat/completions?key=QSECRET"
            said = refused(server, tmp_path, sending(status, b"", Location=target))
            assert f"answers with a redirect ({status}) to {other.url.replace('http://', 'http://***@')}" in said
            assert "pa55word" not in said
            assert "QSECRET" not in said
        assert other.requests == []
    assert f"{server.url[:-3]}/elsewhere;" in refused(server, tmp_path, sending(302, b"", Location="/elsewhere"))


@pytest.mark.parametrize(("beyond", "message"), [(0, ""), (1, f"an answer of more than {LARGEST_ANSWER} bytes")])
def test_an_answer_has_so_many_bytes_at_the_most(beyond, message, server, tmp_path):
    good = answer(*(f"A harbor with {number} boats." for number in ("two", "three", "four", "five"))).encode()
    data = good + b" " * (LARGEST_ANSWER - len(good) + beyond)
    if message:
        assert message in refused(server, tmp_path, sending(200, data))
        assert not list(tmp_path.glob("chat-*.json"))
    else:
        server.script = [sending(200, data)]
        assert len(texts(make(server, tmp_path, retries=0), count=4)) == 4


def test_a_refusal_is_read_up_to_a_limit(server, tmp_path):
    data = b'{"error": {"message": "no' + b"x" * (64 * LARGEST_REFUSAL) + b'"}}'
    said = refused(server, tmp_path, sending(400, data))
    assert "refused the request with status 400" in said
    assert len(said) < 500
    assert "status 429" in refused(server, tmp_path, sending(429, b"[" * (2 * LARGEST_REFUSAL)))


def test_headers_have_a_limit(server, tmp_path):
    many = {f"X_{number}": "v" * 1000 for number in range(LARGEST_HEADERS // 1000 + 1)}
    assert f"where {LARGEST_HEADERS} are the most" in refused(server, tmp_path, sending(200, b"{}", **many))


def test_a_packed_answer_is_unpacked_within_the_limit_or_refused(server, tmp_path):
    bomb = gzip.compress(b" " * (8 * LARGEST_ANSWER))
    assert "bytes" in refused(server, tmp_path, sending(200, bomb, Content_Encoding="gzip"))
    assert "packed as 'zstd'" in refused(server, tmp_path, sending(200, bomb, Content_Encoding="zstd"))
    good = answer(*(f"A harbor with {number} boats." for number in ("two", "three", "four", "five"))).encode()
    server.script = [sending(200, gzip.compress(good), Content_Encoding="gzip")]
    assert len(texts(make(server, tmp_path), count=4)) == 4
    assert server.headers[-1]["accept-encoding"] == "identity"


def drip(handler, body):
    """Headers that never end, a sign at a time, so that no single wait is long."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    try:
        for _ in range(1000):
            handler.wfile.write(b"X-A: b\r\n")
            handler.wfile.flush()
            if handler.server.stopped.wait(0.1):
                return
    except OSError:
        pass


@pytest.mark.parametrize("act", [
    drip, sending(200, b" " * 1000, pause=0.1, part=1), sending(500, b" " * 1000, pause=0.1, part=1),
    sending(400, b" " * 1000, pause=0.1, part=1),
])
def test_the_whole_exchange_has_a_time_limit(act, server, tmp_path):
    start = time.monotonic()
    assert "in " in refused(server, tmp_path, act, timeout=0.5)
    assert time.monotonic() - start < 30  # 1.5 s, and what a busy machine takes


@pytest.mark.parametrize("content", ["[" * 200_000, '{"captions":["A harbor with \\ud800 boats."]}', "{" * 10_000])
def test_an_answer_that_cannot_be_read_blocks_nothing_later(content, server, tmp_path):
    server.script = [says.content(content)]
    assert len(texts(make(server, tmp_path), count=4)) == 4
    asked = len(server.requests)
    assert len(texts(make(server, tmp_path), count=4)) == 4
    assert len(server.requests) == asked


@pytest.mark.parametrize("act", [
    sending(200, b"[" * 200_000), sending(200, b'{"choices":' * 1000), sending(200, b'{"choices": 3}'),
    sending(200, b'{"choices": [{"message": 3}]}'), sending(200, b"\xff\xfe"), sending(200, b""),
])
def test_an_answer_of_another_shape_is_no_completion(act, server, tmp_path):
    assert "that is no chat completion" in refused(server, tmp_path, act)


@pytest.mark.parametrize("usage", [
    {"prompt_tokens": -5, "completion_tokens": 10**18}, {"prompt_tokens": 1e999, "completion_tokens": 1}, 3, [],
    {"prompt_tokens": True, "completion_tokens": 1}, {},
])
def test_a_usage_that_is_none_counts_as_the_worst_case(usage, server, tmp_path):
    content = json.dumps({"captions": [f"A harbor with {n} boats." for n in ("two", "three", "four", "five")]})
    data = json.dumps({"choices": [{"message": {"content": content}}], "usage": usage}).encode()
    server.script = [sending(200, data)]
    assert len(texts(make(server, tmp_path, token_budget=10**6), count=4)) == 4
    (path,) = tmp_path.glob("chat-*.json")
    record = json.loads(path.read_text())
    assert record["usage"] == record["worst"]


@pytest.mark.parametrize("wait", ["nan", "inf", "1e9", "-1", "x" * 1000])
def test_a_wait_that_a_server_asks_for_is_bounded(wait, server, tmp_path):
    from terrasynth.prompts.language_models.chat import Backoff, Chat

    waits = []
    server.script = [sending(429, b"{}", Retry_After=wait), says.content("hello")]
    chat = Chat(server.url, "OPENAI_API_KEY", 5, 1, Backoff(0.01, 2.0), waits.append)
    body = {"model": "m", "messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}]}
    assert chat.complete(body, lambda: None, lambda: None).content == "hello"
    assert 0 <= waits[0] <= 2


def test_what_a_server_sends_back_of_the_key_is_in_no_caption_and_no_file(server, tmp_path):
    echo = [f"A harbor with {KEY} boats.", f"A harbor with Bearer {KEY[:9]} boats.", "A harbor with pa55word boats."]
    echo.append("A harbor with Basic dXNlcjpwYTU1d29yZA== boats.")
    server.script = [sending(200, answer(*echo, "A harbor with red boats.").encode())]
    url = server.url.replace("http://", "http://user:pa55word@")
    prompts = texts(make(server, tmp_path, base_url=url), count=4)
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (KEY, KEY[:9], "pa55word", server.headers[0]["authorization"].split()[1]):
        assert secret not in " ".join(prompts) + kept
    assert "A harbor with red boats." in prompts


@pytest.mark.parametrize("field", ["api_key", "Authorization", "password", "token", "client_secret"])
def test_a_key_has_no_place_in_a_request(field, server, tmp_path):
    with pytest.raises(InputError, match=rf"has the field '{field}'; keys and passwords belong into") as caught:
        make(server, tmp_path, request={"metadata": {field: "sk-very-secret"}})
    assert "sk-very-secret" not in str(caught.value)
