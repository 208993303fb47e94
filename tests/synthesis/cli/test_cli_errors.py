"""How a command ends badly: one line and an exit code; what nobody foresaw leaves its traceback in a private file."""

import errno
import os
import stat
import subprocess
import sys

import click
import pytest

import terrasynth.eval.errors
import terrasynth.prompts.errors
import terrasynth.training.errors
from terrasynth.synthesis.cli import cli
from terrasynth.synthesis.cli.errors import ending
from terrasynth.synthesis.cli.unexpected import HIDDEN, KEPT, without_secrets
from terrasynth.synthesis.core.errors import InputError, RunError

SECRETS = {
    "value of HF_TOKEN": "not-like-any-pattern-9",
    "token": "hf_abcdefghijklmnopqrstuvwxyz",
    "key": "sk-proj-0123456789abcdef",
    "address": "https://me:password-1@host/v1",
    "query": "https://host/v1?api_key=tiptop77&x=1",
    "header": "Authorization: Bearer abc.def-123456",
    "setting": "api_key='tiptop78'",
}
PARTS = ("not-like-any-pattern-9", "hf_abcdefghijklmnopqrstuvwxyz", "sk-proj-0123456789abcdef", "password-1",
         "tiptop77", "abc.def-123456", "tiptop78")


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "terrasynth"


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def os_error(number, name="some/file"):
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(("error", "code", "words"), [
    (InputError("name 'x' is wrong"), 2, "name 'x' is wrong"),
    (terrasynth.eval.errors.InputError("eval's"), 2, "eval's"),
    (terrasynth.prompts.errors.InputError("prompts'"), 2, "prompts'"),
    (terrasynth.training.errors.InputError("training's"), 2, "training's"),
    (click.UsageError("no such option"), 2, "no such option"),
    (RunError("it\nfailed"), 1, "it failed"),
    (KeyboardInterrupt(), 1, "interrupted"),
    (click.exceptions.Abort(), 1, "interrupted"),
    (MemoryError(), 1, "the machine ran short"),
    (RuntimeError("CUDA out of memory. Tried to allocate"), 1, "the machine ran short"),
    (os_error(errno.ENOSPC), 1, "disk full"),
    (os_error(errno.EMFILE), 1, "too many files are open"),
    (os_error(errno.EIO), 1, "a disk or a connection fails"),
    (os_error(errno.ENAMETOOLONG, "x" * 300), 2, "file name too long"),
    (os_error(errno.EACCES), 2, "'some/file': permission denied"),
    (os_error(errno.ENOTDIR), 2, "'some/file': not a directory"),
    (RuntimeError("Could not determine home directory."), 2, "no home folder"),
    (ImportError("T5Tokenizer requires the SentencePiece library"), 1, "an installed package cannot be imported"),
])
def test_what_is_foreseen_says_what_to_do(state, error, code, words):
    found = ending(raised(error))
    assert (found.code, words in found.message) == (code, True), found
    assert not state.exists()


def test_a_torchvision_of_another_torch_is_named_though_transformers_hides_it():
    hidden = ImportError("Could not import module 'PreTrainedModel'. Are this object's requirements defined correctly?")
    hidden.__cause__ = RuntimeError("operator torchvision::nms does not exist")
    assert ending(raised(hidden)).message.startswith("the installed torchvision is of another torch")
    assert ending(raised(RuntimeError("operator torchvision::nms does not exist"))).code == 1


class TestTheRest:
    def test_its_traceback_is_in_a_file_of_the_user_alone(self, state):
        found = ending(raised(KeyError("foo")), "terrasynth run x")
        file, = state.iterdir()
        assert (found.code, str(file) in found.message, "unexpected KeyError" in found.message) == (1, True, True)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        text = file.read_text()
        assert "Traceback (most recent call last)" in text
        assert "KeyError: 'foo'" in text
        assert "terrasynth run x" in text
        assert "torch 2" in text

    def test_no_secret_is_in_line_or_file(self, state, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", SECRETS["value of HF_TOKEN"])
        error = raised(KeyError(" ".join(SECRETS.values())))
        found = ending(error, "terrasynth push --set " + " ".join(SECRETS.values()))
        file, = state.iterdir()
        for part in PARTS:
            assert part not in file.read_text()
            assert part not in found.message
        assert HIDDEN in file.read_text()

    def test_what_is_no_secret_stays(self):
        said = "https://host:8080/v1/models: key 'x' of config.json, token 5 of 77, scale=2"
        assert without_secrets(said) == said

    def test_old_files_make_room(self, state):
        for _ in range(KEPT + 3):
            ending(raised(KeyError("foo")))
        assert len(list(state.iterdir())) == KEPT

    def test_where_the_folder_cannot_be_made_the_temporary_one_takes_it(self, tmp_path, monkeypatch):
        (tmp_path / "state").write_text("a file")
        (tmp_path / "tmp").mkdir()
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        found = ending(raised(KeyError("foo")))
        assert str(tmp_path / "tmp") in found.message
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "state"))
        assert "could be written nowhere" in ending(raised(KeyError("foo"))).message

    def test_the_command_line_prints_one_line_and_no_traceback(self, state, monkeypatch, terrasynth):
        @click.command()
        def broken():
            raise KeyError("a\n\x1b[31mred")

        monkeypatch.setitem(cli.commands, "broken", broken)
        code, out, lines = terrasynth("broken")
        assert (code, out, len(lines)) == (1, "", 1)
        assert lines[0].startswith("terrasynth: error: unexpected KeyError in ")
        assert "\x1b" not in lines[0]


def test_a_reader_that_has_enough_is_no_error():
    ran = subprocess.run(
        [sys.executable, "-c", "from terrasynth.synthesis.cli import main; main(['--help'])"],
        stdout=open_and_close(), stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in ran.stderr
    assert ran.stderr == ""


def open_and_close():
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_the_place_is_ours_where_a_library_raised(state):
    from terrasynth.synthesis.core.files import write_file

    try:
        write_file("not a path", b"")
    except AttributeError as error:
        found = ending(error)
        assert "in synthesis/core/files.py:" in found.message
