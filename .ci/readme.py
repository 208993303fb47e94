"""Run the commands of the README's `bash` blocks, in order, in one shell; a block marked `no-ci` is left out.

Nothing in them is changed. `make demo` reads SET from the environment: `.ci/run` makes the demo smaller by it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

blocks = re.findall(r"^```bash( no-ci)?\n(.*?)^```", Path(sys.argv[1]).read_text(encoding="utf-8"), re.M | re.S)
script = "\n".join(body for skipped, body in blocks if not skipped)
if not script.strip():
    sys.exit("the README shows no command")
sys.exit(subprocess.run(["bash", "-euxo", "pipefail", "-c", script], check=False).returncode)
