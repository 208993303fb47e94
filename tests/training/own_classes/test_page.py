"""The commands of docs/own-classes.md, in order, in one folder, on the images that the page itself makes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "own-classes.md"
OURS = re.compile(r"^(terrasynth .*)\n", re.M)


def test_the_commands_of_the_page_do_what_it_says(tmp_path, monkeypatch, terrasynth):
    text = PAGE.read_text(encoding="utf-8")
    script = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S))
    shown, = re.findall(r"^```\n(found .*?)^```", text, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    said = ""
    for part in filter(str.strip, OURS.split(script)):
        if part.startswith("terrasynth "):  # in this process, which has imported what each of them needs
            command, _, allowed = part.partition("|| test $? = ")
            code, out, lines = terrasynth(*shlex.split(command, comments=True)[1:])
            assert code in (0, int(allowed or 0)), (part, lines)
            said += out
        else:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", part], capture_output=True, text=True, check=False,
                                  env=os.environ | {"PATH": path})
            assert done.returncode == 0, done.stderr
            said += done.stdout
    assert shown in said
    assert "wind turbine" in said
    assert "does not know the classes wind turbine, SolarFarm, flooded_village" in said
