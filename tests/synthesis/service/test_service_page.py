"""The commands of docs/service.md that speak to a server do what the page says, against a real server and worker."""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from terrasynth.synthesis.service.supervisor import Supervisor, WorkSettings
from tests.synthesis.service.web import events_in, web_server

PAGE = Path(__file__).parents[3] / "docs" / "service.md"
WRITTEN = "http://127.0.0.1:8765"


@pytest.mark.slow
def test_the_commands_of_the_page(settings, job_store, tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    (shell,) = re.findall(rf"^```bash no-ci\n(S={WRITTEN}\n.*?)^```", text, re.M | re.S)
    (python,) = re.findall(r"^```python\n(from openai .*?)^```", text, re.M | re.S)
    stop = threading.Event()
    worker = threading.Thread(target=Supervisor(WorkSettings(settings.runs), job_store).run, args=(stop,))
    worker.start()
    try:
        with web_server(replace(settings, wait_seconds=300), job_store) as address:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", shell.replace(WRITTEN, address)], cwd=tmp_path,
                                  capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            kinds = [kind for _, kind in events_in(done.stdout)]
            assert kinds[0] == "queued"
            assert kinds[-1] == "ended"
            assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")
            assert '"command":"terrasynth generate' in done.stdout
            names: dict = {}
            exec(python.replace(WRITTEN, address), names)
            assert [image.seed for image in names["answer"].data] == [7, 8]
    finally:
        stop.set()
        worker.join()
