"""Nothing of somebody else's moves a cursor, sets a title or shows a secret on the terminal."""

import io
import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest
import yaml

from terrasynth.synthesis.core.terminal import CleanStream, control, printable

ESCAPES = "\x1b]0;pwned\x07 \x9b31m \x08 \x00 \u202eabc \x7f"


def test_control_characters_are_shown():
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable(ESCAPES) == r"\x1b]0;pwned\x07 \x9b31m \x08 \x00 \u202eabc \x7f"
    assert printable("one\r\ntwo\rthree") == "one\ntwo\\rthree"


def test_a_stream_cleans_and_lets_our_own_through():
    raw = io.StringIO()
    stream = CleanStream(raw)
    print("\r 50 % \x1b[31m http://user:pa55word@host", end="", file=stream)
    control(stream, "\r\x1b[2K")
    stream.writelines(["a\x1b", "b"])
    assert raw.getvalue() == "\r 50 % \\x1b[31m http://***@host\r\x1b[2Ka\\x1bb"
    assert stream.getvalue() == raw.getvalue()


def test_what_cannot_be_encoded_is_escaped():
    binary = io.BytesIO()
    stream = CleanStream(io.TextIOWrapper(binary, "ascii"))
    stream.write("é 海\n")
    stream.flush()
    assert binary.getvalue() == b"\\xe9 \\u6d77\n"


def on_terminal(start):
    """What a process writes to a terminal of its own; `start` is given the terminal's descriptor."""
    ours, theirs = os.openpty()
    process = start(theirs)
    os.close(theirs)
    out = b""
    with suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # Linux says so where others say the end
        while data := terminal.read(65536):
            out += data
    process.wait()
    return out


@pytest.fixture
def hostile(tree, tmp_path):
    path = tmp_path / "p\x1b]0;pwned\x07.jsonl"
    path.write_text(json.dumps({"text": f"a boat {ESCAPES}", "label": "beach"}) + "\n")
    tree["prompts"] = {"expander": "file", "path": str(path)}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(tree))
    return path


def test_prompts_and_names_of_files(python, hostile, tmp_path):
    for command in (("plan", tmp_path / "r.yaml"), ("expand", "--expander", "file", "--option", f"path={hostile}"),
                    ("expand", "--expander", "file", "--option", f"path={hostile}", "--text-only"),
                    ("expand", "--expander", "file", "--option", f"path={hostile}.none")):
        said = on_terminal(lambda terminal, command=command: python.start(
            "-m", "terrasynth", *command, stdout=terminal, stderr=terminal))
        assert said
        assert b"\x1b]0;" not in said
        assert b"\xc2\x9b" not in said
        assert "\u202e".encode() not in said


def test_an_address_with_a_password(tmp_path):
    command = [sys.executable, "-m", "terrasynth", "push", tmp_path, "--repo", "user/name"]
    environment = os.environ | {"HF_ENDPOINT": "http://user:pa55word@127.0.0.1:9"}
    said = on_terminal(lambda terminal: subprocess.Popen(command, env=environment, stdout=terminal, stderr=terminal))
    assert said
    assert b"pa55word" not in said


def test_tools_that_read_the_output_get_what_they_got(tmp_path):
    done = subprocess.run([sys.executable, "-m", "terrasynth", "expand", "--classes", "beach", "--n",
    "2"],
                          capture_output=True, text=True, check=True)
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["beach", "beach"]
