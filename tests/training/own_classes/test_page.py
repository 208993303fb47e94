"""The commands of docs/own-classes.md, in order, in one shell, on the images that the page itself makes."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "own-classes.md"


def test_the_commands_of_the_page_do_what_it_says(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S))
    shown, = re.findall(r"^```\n(found .*?)^```", text, re.M | re.S)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          check=False, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert "wind turbine" in done.stdout
    assert "does not know the classes wind turbine, SolarFarm, flooded_village" in done.stdout
