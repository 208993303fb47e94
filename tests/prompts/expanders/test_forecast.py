"""What prompts of an endpoint will cost, before they are asked for."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from terrasynth.prompts.language_models import prices
from terrasynth.prompts.language_models.prices import Forecast, Price, price_of
from terrasynth.prompts.language_models.spending import Usage
from tests.prompts.asking_server import make
from tests.prompts.chat_server import COMPLETION_TOKENS, PROMPT_TOKENS

LEAST, MOST = {"harbor": 4, "sand_mine": 4}, {"harbor": 12, "sand_mine": 9}


def test_requests_are_counted_and_not_asked(server, tmp_path):
    expander = make(server, tmp_path, price_in=10.0, price_out=20.0)
    nothing = expander.forecast(0, LEAST, MOST)
    assert (nothing.least, nothing.most, nothing.measured) == (2, 6, 0)
    assert "what one uses is not known yet" in nothing.text()
    expander.expand("harbor", 0, 0, 3)
    asked = len(server.requests)
    found = expander.forecast(0, LEAST, MOST)
    assert len(server.requests) == asked == 1
    assert (found.least, found.most) == (1, 5)
    assert found.usage == Usage(PROMPT_TOKENS, COMPLETION_TOKENS)
    one = (PROMPT_TOKENS * 10 + COMPLETION_TOKENS * 20) / 1e6
    assert found.text().startswith(f"{one:.4f} to {5 * one:.4f} for 1 to 5 requests to m at {server.url}")
    for label, count in MOST.items():
        expander.expand(label, 0, 0, count)
    assert expander.forecast(0, LEAST, MOST).text().startswith("nothing to pay")


def test_a_model_without_a_price_is_named(server, tmp_path):
    expander = make(server, tmp_path, model="gpt-4o-mini")  # a known name at an endpoint that is not OpenAI's
    expander.expand("harbor", 0, 0, 1)
    said = expander.forecast(0, LEAST, MOST).text()
    assert "gpt-4o-mini at http://127.0.0.1" in said
    assert said.endswith("no price of it is known: set prompts.price_in and prompts.price_out")


def test_the_table_has_a_date_and_prices():
    table = yaml.safe_load(Path(prices.TABLE).read_text())
    assert isinstance(table["date"], date)
    assert table["currency"] == "USD"
    assert all(0 < each["in"] < each["out"] for each in table["models"].values())
    found = price_of("gpt-4o-mini-2024-07-18")
    assert found == price_of("gpt-4o-mini")
    assert str(table["date"]) in found.source
    assert price_of("gpt-4o-mini-preview") is None


def test_a_forecast_is_arithmetic():
    forecast = Forecast(10, 20, Usage(1000, 500), 3, "m at e", Price(2.0, 8.0, "as set"))
    assert forecast.text() == ("0.0600 to 0.1200 for 10 to 20 requests to m at e, 1,000 tokens read and 500 written "
                               "each (mean of 3), at 2 and 8 a million (as set)")


@pytest.mark.parametrize("checks", [None, {"distinct": True}])
def test_a_plan_says_it(server, tmp_path, tree_of_plan, terrasynth, checks):
    tree = tree_of_plan
    tree["prompts"] = {"expander": "openai", "classes": ["harbor"], **{
        "model": "m", "base_url": server.url, "per_request": 4, "profile": "ucm", "cache": str(tmp_path / "answers"),
        "price_in": 1.0, "price_out": 1.0}}
    if checks:
        tree["prompts"]["checks"] = checks
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree))
    code, out, lines = terrasynth("plan", recipe)
    assert code == 0, lines
    (line,) = [line for line in out.splitlines() if line.startswith("API prompts")]
    assert f"requests to m at {server.url}" in line
    assert line.endswith("at 1 and 1 a million (as set)") or "nothing to pay" in line
    paid = len(server.paid)
    assert terrasynth("plan", recipe)[0] == 0
    assert len(server.paid) == paid  # the second plan asks for nothing


@pytest.fixture
def tree_of_plan():
    return {"generator": {"model": "ldm-ucm", "steps": 1}, "filters": [],
            "target": {"per_class": 4, "max_attempts": 40}, "runtime": {"block_size": 4}}
