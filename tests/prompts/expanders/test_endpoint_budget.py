"""What the openai expander may spend: budgets of tokens and of money hold, over processes and lost answers too."""

import json

import pytest

from terrasynth.prompts.errors import InputError
from tests.prompts import chat_server as says
from tests.prompts.asking_server import make, texts


def test_the_token_budget_holds_over_processes_and_lost_answers(server, tmp_path):
    each = says.PROMPT_TOKENS + says.COMPLETION_TOKENS
    probe = make(server, tmp_path / "probe", per_request=4)
    texts(probe, count=4)
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "probe").glob("chat-*.json"))
    worst = sum(record["worst"].values())
    budget = 2 * each + worst + each // 2  # room for three requests, each with its worst case ahead
    message = (rf"token_budget {budget} .*: {3 * each} tokens are spent, and the next request can take \d+; "
               "there are 12 prompts so far; raise the budget")
    with pytest.raises(InputError, match=message):
        texts(make(server, tmp_path, token_budget=budget), count=40)
    assert len(server.paid) == 1 + 3
    assert len(texts(make(server, tmp_path, token_budget=budget), count=12)) == 12
    with pytest.raises(InputError, match=f"{3 * each} tokens are spent"):
        texts(make(server, tmp_path, token_budget=budget), seed=1)
    assert len(texts(make(server, tmp_path, token_budget=10 * budget), count=16)) == 16
    assert len(server.paid) == 1 + 4

    server.script = [says.half_answer] * 3  # may have been paid for: counts at its worst case
    with pytest.raises(InputError, match=r"tokens are spent, \d+ of them perhaps, for answers that were lost"):
        texts(make(server, tmp_path / "lost", token_budget=2 * worst + worst // 2))
    server.script = [says.status(500)] * 3  # not paid for
    assert len(texts(make(server, tmp_path / "errors", token_budget=worst + each // 2), count=4)) == 4


def test_the_cost_budget(server, tmp_path):
    prices = {"price_in": 10.0, "price_out": 1000.0}
    message = r"cost_budget 0\.5 .*: 0\.\d{6} is spent \(\d+ tokens\), and the next request can cost"
    with pytest.raises(InputError, match=message):
        texts(make(server, tmp_path, cost_budget=0.5, **prices), count=100)
    cost = len(server.paid) * (says.PROMPT_TOKENS * 10 + says.COMPLETION_TOKENS * 1000) / 1e6
    assert 0 < cost <= 0.5
    with pytest.raises(InputError, match="needs price_in and price_out"):
        make(server, tmp_path, cost_budget=1.0)


def test_an_answer_without_usage_counts_at_its_worst_case(server, tmp_path):
    server.script = [says.without_usage]
    texts(make(server, tmp_path), count=4)
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("chat-*.json"))
    assert record["usage"] == record["worst"]
    assert record["usage_stated"] is False
