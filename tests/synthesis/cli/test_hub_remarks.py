"""An endpoint that does not answer is told in one line, however often its client tries again."""

import logging
import os
import subprocess
import sys

from terrasynth.synthesis.cli.hub_remarks import LOGGER, OneLine


def test_only_the_first_failure_is_told():
    heard = OneLine()

    def said(message):
        record = logging.LogRecord(LOGGER, logging.WARNING, "", 0, message, (), None)
        return record.getMessage() if heard.filter(record) else None

    failure = "'[Errno 111] Connection refused' thrown while requesting HEAD http://127.0.0.1:9/owner/name/resolve/x"
    assert said(failure) == ("http://127.0.0.1:9, asked for model owner/name, does not answer ([Errno 111] Connection "
                             "refused); trying again")
    assert [said("Retrying in 1s [Retry 1/5]."), said(failure)] == [None, None]
    assert said("Rate limited. Waiting 3s before retry [Retry 1/5].") is None
    assert said("HTTP Error 503 thrown while requesting GET https://hub.example/api").startswith("https://hub.example ")
    assert ", asked for model owner/other, does not answer" in said(failure.replace("owner/name", "owner/other"))
    for address, asked in (("api/datasets/owner/name/revision/main", "data set owner/name"),
                           ("datasets/owner/name/resolve/main/a", "data set owner/name"),
                           ("api/models/owner/name", "model owner/name")):
        line = said(f"HTTP Error 503 thrown while requesting GET https://{len(address)}.example/{address}")
        assert line == f"https://{len(address)}.example, asked for {asked}, does not answer (503); trying again"
    assert said("another remark") == "another remark"


def test_the_client_logs_through_it():
    """The client really says what the filter knows, at a port that nobody listens at; two tries are enough."""
    code = ("from terrasynth.synthesis.cli.hub_remarks import say_retries_once\n"
            "say_retries_once()\n"
            "say_retries_once()\n"
            "from huggingface_hub.utils import http_backoff\n"
            "try:\n"
            "    http_backoff('HEAD', 'http://127.0.0.1:9/x', max_retries=2, base_wait_time=0.01)\n"
            "except Exception as error:\n"
            "    print(type(error).__name__)\n")
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "ConnectError" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.endswith("http://127.0.0.1:9 does not answer ([Errno 111] Connection refused); trying again")
