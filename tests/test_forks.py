"""What starts as a fork does and ends as what Python starts."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("code", [
    "pass", "import sys; sys.exit(3)", "import sys; sys.exit('a text')", "import sys; sys.exit(300)", "1 / 0",
    "raise KeyboardInterrupt", "import os; os._exit(7)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "import sys; print('to stdout', end=''); sys.stderr.write('to stderr')", "import atexit; atexit.register(print, 1)",
    "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "import os, tempfile, weakref; t = tempfile.TemporaryDirectory(); "
    "weakref.finalize(os, lambda: print(os.path.exists(t.name)))",
])
def test_a_fork_ends_as_python_does(python, code):
    ours, theirs = python.run("-c", code), subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    assert ours.stderr.splitlines()[-1:] == theirs.stderr.splitlines()[-1:]
