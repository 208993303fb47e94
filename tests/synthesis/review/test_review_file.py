"""The file of verdicts: durable, in order, nobody else's, and named with its line where it is damaged."""

import json
import subprocess
import sys
import threading

import pytest

from terrasynth.errors import one_line
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.review.entries import Subject, Undo, Verdict, now
from terrasynth.synthesis.review.file import ReviewFile
from terrasynth.synthesis.review.standing import Standing

RUN = "0123456789abcdef"


def subject(k, label="beach"):
    return Subject(row=Identity({}, RUN).attempt(label, k)[0], label=label, k=k)


def say(file, k, verdict="accept", reviewer="ada", reason=""):
    return file.append(lambda entries, number: Verdict(
        number=number, subject=subject(k), verdict=verdict, reviewer=reviewer, reason=reason, time=now()))


def undo(file, undoes, reviewer="ada"):
    return file.append(lambda entries, number: Undo(number=number, undoes=undoes, reviewer=reviewer, time=now()))


@pytest.fixture
def file(tmp_path):
    return ReviewFile(tmp_path, RUN)


@pytest.fixture
def three(file):
    """A file with three verdicts, and its lines."""
    for k in range(3):
        say(file, k)
    return file.path.read_bytes().splitlines(keepends=True)


def fresh(file):
    """The same file as another process opens it, without what this one knows."""
    from terrasynth.synthesis.review import file as module

    module._KNOWN.clear()
    return ReviewFile(file.path.parents[1], RUN)


def test_nothing_is_made_by_reading(file, tmp_path):
    assert file.read() == ()
    assert list(tmp_path.iterdir()) == []


def test_what_was_said_is_read_again(file):
    said = [say(file, 0), say(file, 1, "reject", reason="no water at all"), say(file, 0, reviewer="bob"), undo(file, 1)]
    assert list(fresh(file).read()) == said
    assert [entry.number for entry in said] == [1, 2, 3, 4]


def test_last_word_counts_and_undoing_brings_back_the_one_before(file):
    say(file, 0, "reject")
    say(file, 0, "accept")
    row = subject(0).row
    assert Standing.of(file.read()).score(row) == 1
    undo(file, 2)
    assert Standing.of(file.read()).score(row) == 0
    undo(file, 1)
    assert Standing.of(file.read()).score(row) is None


def test_lines_before_keep_their_bytes(file, three):
    say(file, 7)
    assert file.path.read_bytes().startswith(b"".join(three))


@pytest.mark.parametrize("line", range(4))
@pytest.mark.parametrize("change", ["a letter", "left out", "twice", "no JSON", "swapped"])
def test_a_changed_line_is_named(file, three, line, change):
    lines = list(three)
    if change == "a letter":
        place = lines[line].index(b'"') + 1
        lines[line] = lines[line][:place] + b"x" + lines[line][place + 1:]
    elif change == "left out":
        del lines[line]
    elif change == "twice":
        lines.insert(line, lines[line])
    elif change == "swapped":
        other = (line + 1) % 4
        lines[line], lines[other] = lines[other], lines[line]
    else:
        lines[line] = b"{\n"
    file.path.write_bytes(b"".join(lines))
    if (change, line) == ("left out", 3):  # the last line as if it had never been said
        assert len(fresh(file).read()) == 2
        return
    with pytest.raises((RunError, InputError)) as caught:
        fresh(file).read()
    text = str(caught.value)
    assert text == one_line(caught.value)
    assert "verdicts.jsonl: line " in text
    assert "put a copy of the file back" in text
    before = file.path.read_bytes()
    with pytest.raises((RunError, InputError)):
        say(fresh(file), 5)
    assert file.path.read_bytes() == before


@pytest.mark.parametrize("kept", range(1, 40, 3))
def test_a_line_without_its_end_was_never_said(file, three, kept):
    file.path.write_bytes(b"".join(three) + three[1][:kept])
    assert len(fresh(file).read()) == 3
    said = say(fresh(file), 9)
    assert list(fresh(file).read())[3] == said
    assert file.path.read_bytes().startswith(b"".join(three) + b"{")


def test_a_file_whose_first_line_was_cut_off_begins_anew(file, three):
    file.path.write_bytes(three[0][:20])
    assert fresh(file).read() == ()
    say(fresh(file), 0)
    assert len(fresh(file).read()) == 1


def test_the_review_of_another_run_is_named(file, three, tmp_path):
    fresh(file)
    with pytest.raises(InputError, match=r"verdicts.jsonl is the review of the run '0123456789abcdef', and this run is "
                                         r"'fedcba9876543210'; move it away"):
        ReviewFile(tmp_path, RUN[::-1]).read()


def test_a_row_of_no_attempt_is_named(file):
    file.append(lambda entries, number: Verdict(
        number=number, subject=Subject(row="0" * 16, label="beach", k=0), verdict="accept", reviewer="ada", time=now()))
    with pytest.raises(RunError, match=r"line 2 is not what was written \(0{16} is no attempt of this run\)"):
        fresh(file).read()


@pytest.mark.parametrize("place", ["verdicts.jsonl", "review"])
def test_links_are_not_followed(file, three, tmp_path, place):
    path = file.path if place == "verdicts.jsonl" else file.path.parent
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        fresh(file).read()
    with pytest.raises(InputError, match="is a link"):
        say(fresh(file), 4)


def test_a_file_in_place_of_the_folder_is_named(file, tmp_path):
    (tmp_path / "review").write_text("")
    with pytest.raises(InputError, match="is a file, where a review has its folder"):
        say(file, 0)


def test_another_version_is_named(file, three):
    head = json.loads(three[0])
    from terrasynth.synthesis.review.file import _line

    file.path.write_bytes(_line({"format": "terrasynth review 9", "identity": head["identity"]}, "")[0])
    with pytest.raises(InputError, match="is no review of this version"):
        fresh(file).read()


def test_many_at_once_lose_nothing(file):
    """Four threads and two processes, twenty verdicts each."""
    code = ("import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
            "from tests.synthesis.review.test_review_file import *\n"
            "file = ReviewFile(Path(sys.argv[1]), RUN)\n"
            "for k in range(20): say(file, k, reviewer=sys.argv[3])\n")
    from tests.test_rooms import ROOT

    root = file.path.parents[1]
    others = [subprocess.Popen([sys.executable, "-c", code, root, ROOT, f"process {number}"]) for number in range(2)]
    threads = [threading.Thread(target=lambda name=f"thread {number}": [say(file, k, reviewer=name) for k in range(20)])
               for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.wait() for each in others] == [0, 0]
    found = Standing.of(fresh(file).read())
    assert len(found.verdicts) == 20
    assert all(len(each) == 6 for each in found.verdicts.values())


def test_a_kill_costs_nothing_that_was_acknowledged(file):
    """A process that is killed while it writes: what it said it had written is there, and whole."""
    code = ("import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
            "from tests.synthesis.review.test_review_file import *\n"
            "file = ReviewFile(Path(sys.argv[1]), RUN)\n"
            "for k in range(10_000): say(file, k); print(k, flush=True)\n")
    from tests.test_rooms import ROOT

    root = file.path.parents[1]
    for most in (3, 17):
        with subprocess.Popen([sys.executable, "-c", code, root, ROOT], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if int(line) >= most:
                    process.kill()
                    break
            acknowledged = [int(line), *map(int, process.stdout.read().split())][-1]
        found = Standing.of(fresh(file).read())
        assert {subject(k).row for k in range(acknowledged + 1)} <= found.verdicts.keys()


def test_a_full_disk_leaves_what_was_there(file, three, monkeypatch):
    import errno
    import os

    def full(handle, data):
        os_write(handle, bytes(data)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    os_write = os.write
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match="disk full while writing"):
        say(file, 4)
    monkeypatch.undo()
    assert file.path.read_bytes() == b"".join(three)
    say(file, 4)
    assert len(fresh(file).read()) == 4


def test_record_speaks_of_what_stands_alone(file):
    say(file, 0)
    before = Standing.of(file.read()).record
    say(file, 1, "reject", reason="blurred")
    assert Standing.of(file.read()).record != before
    undo(file, 2)
    assert Standing.of(file.read()).record == before
    assert before["verdicts"] == before["images"] == before["reviewers"] == 1
