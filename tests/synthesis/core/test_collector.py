import gc
import subprocess
import sys

import pytest

from terrasynth.synthesis.core.collector import look_seldom


@pytest.mark.parametrize(("before", "after"), [
    ((700, 10, 10), (10_000, 10, 10)), ((2_000, 5, 7), (10_000, 5, 7)), ((50_000, 10, 10), (50_000, 10, 10)),
    ((0, 10, 10), (0, 10, 10)),  # never, as somebody chose
])
def test_circles_are_looked_for_more_seldom_and_never_more_often(before, after):
    found = gc.get_threshold()
    try:
        gc.set_threshold(*before)
        look_seldom()
        assert gc.get_threshold() == after
    finally:
        gc.set_threshold(*found)


def test_the_command_line_and_workers_begin_with_it(python):
    code = ("import gc, sys; gc.set_threshold(700, 10, 10)\n"
            "from terrasynth.synthesis.{0} import main\n"
            "sys.argv[1:] = {1}\n"
            "try:\n    main()\nexcept BaseException:\n    pass\n"
            "print('threshold', gc.get_threshold()[0])\n")
    for module, arguments in (("cli", ["--version"]), ("execution.worker", ["no number", "nowhere"])):
        assert python.run("-c", code.format(module, arguments)).stdout.split()[-2:] == ["threshold", "10000"]


def test_nothing_is_walked_over_at_the_end():
    code = ("import gc; from terrasynth.synthesis.core.collector import look_seldom\n"
            "look_seldom(); look_seldom()\n"
            "import atexit; atexit._run_exitfuncs(); print(gc.get_freeze_count() > len(gc.get_objects()))\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
