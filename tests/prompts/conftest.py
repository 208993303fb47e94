"""A chat server of our own, and an environment in which the openai expander finds it and no other."""

import pytest

from terrasynth.prompts.expanders.endpoint import OpenAIExpander
from terrasynth.prompts.language_models.chat import Backoff
from tests.prompts import chat_server
from tests.prompts.asking_server import KEY


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(OpenAIExpander, "backoff", Backoff(base=0.001, ceiling=0.05))
    with chat_server.serving() as running:
        yield running
