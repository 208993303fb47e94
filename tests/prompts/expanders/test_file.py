"""The file expander: three formats, and errors that name file and line."""

import json

import pytest

from terrasynth.prompts import load_expander
from terrasynth.prompts.errors import InputError


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_json_lines_with_everything(tmp_path):
    rows = [
        {"label": "harbor", "text": " Ten  yachts at a pier. ", "captions": ["A pier.", "Ten yachts at a pier."],
         "scene": {"objects": [{"noun": "yacht"}]}, "source": "grammar"},
        {"label": "field", "text": "Ein grüner Acker."},
        {"label": "harbor", "text": "One yacht."},
    ]
    path = write(tmp_path, "p.jsonl", "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    expander = load_expander("file", path=path)
    assert expander.classes == ("harbor", "field")
    first, second, third = expander.expand("harbor", 0, 0, 3)
    assert first.captions == ("Ten yachts at a pier.", "A pier.")
    assert json.loads(first.scene) == {"objects": [{"noun": "yacht"}]}
    assert (first.source, second.source, second.scene) == ("grammar", "file", "{}")
    assert third == first
    assert expander.expand("harbor", 7, 1_000_001, 1) == [second]
    assert expander.expand("field", 0, 4, 1)[0].text == "Ein grüner Acker."


def test_the_formats_say_the_same_and_share_an_identity(tmp_path):
    files = [
        write(tmp_path, "a.jsonl", '{"label":"dock","text":"Boats, many."}\r\n{"text":"One boat.","label":"dock"}'),
        write(tmp_path, "b.csv", 'label,text,captions\r\ndock,"Boats, many.",\r\ndock,One boat.,[]\r\n'),
        write(tmp_path, "c.txt", "# ours\ndock\tBoats, many.\n\ndock\tOne boat.\n"),
        write(tmp_path, "d.txt", "\ufeffBoats, many.\nOne boat."),
    ]
    expanders = [load_expander("file", path=str(one), label="dock") for one in files]
    assert len({json.dumps(one.identity()) for one in expanders}) == 1
    assert str(tmp_path) not in json.dumps(expanders[0].identity())
    other = load_expander("file", path=write(tmp_path, "e.txt", "One boat.\nBoats, many."), label="dock")
    assert other.identity() != expanders[0].identity()


@pytest.mark.parametrize(("name", "text", "message"), [
    ("p.jsonl", '{"label":"a","text":"b"}\n{"label":', r"p\.jsonl:2: line is not JSON \(.* at column 10\)"),
    ("p.jsonl", '{"label":"a","text":"\\ud800"}', r"p\.jsonl:1: line has a value that JSON in UTF-8 cannot hold"),
    ("p.csv", 'label,text,scene\na,b,"{""gsd"": NaN}"', r"p\.csv:2: scene has a value that JSON in UTF-8 cannot hold"),
    ("p.jsonl", "[1]", r"p\.jsonl:1: a JSON list, not an object"),
    ("p.jsonl", '\n{"label":"a"}', r"p\.jsonl:2: no text"),
    ("p.jsonl", '{"text":"a"}', r"p\.jsonl:1: no class; add the field label, or set the option label"),
    ("p.jsonl", '{"label":"a","text":" "}', r"p\.jsonl:1: text ' ' must be text that is not empty"),
    ("p.jsonl", '{"label":"a","text":3}', r"p\.jsonl:1: text 3 must be text"),
    ("p.jsonl", '{"label":"../a","text":"b"}', r"p\.jsonl:1: label '\.\./a' must be text without slashes"),
    ("p.jsonl", '{"label":7,"text":"b"}', r"p\.jsonl:1: label 7 must be text"),
    ("p.jsonl", '{"label":"a","text":"' + "x" * 10_001 + '"}', r"p\.jsonl:1: text has 10,001 signs and 10,000 are the"),
    ("p.txt", "é" * 101 + "\tb", r"p\.txt:1: label 'é+'? ?.*at most 200 bytes"),
    ("p.txt", "a\u202eb\tc", r"p\.txt:1: label 'a\\u202eb' must be text without slashes and control characters"),
    ("p.jsonl", '{"label":"a","text":"b","scene":{"a":' + "[" * 100_000 + "}}", r"p\.jsonl:1: line (?:has a|is not)"),
    ("p.jsonl", '{"label":"a","txet":"b"}', r"p\.jsonl:1: field 'txet' is unknown \(did you mean 'text'\?\)"),
    ("p.jsonl", '{"label":"a","text":"b","captions":{}}', r"p\.jsonl:1: captions \{\} must be a list"),
    ("p.jsonl", '{"label":"a","text":"b","scene":[]}', r"p\.jsonl:1: scene \[\] must be a JSON object"),
    ("p.csv", "label,txt\na,b", r"p\.csv:1: the header 'label,txt' needs a column text"),
    ("p.csv", "label,text\na,b,c", r"p\.csv:2: 3 values under 2 columns; quote texts with commas"),
    ("p.csv", 'label,text\na,"b', r"p\.csv:2: not CSV"),
    ("p.csv", "label,text,scene\na,b,x", r"p\.csv:2: scene is not JSON"),
    ("p.txt", "a\tb\nc", r"p\.txt:2: no class; write CLASS, a tab and the text, or set the option label"),
    ("p.txt", "\n# nothing\n", r"p\.txt' has no prompt"),
    ("p.doc", "a\tb", r"suffix '\.doc', which is none of \.jsonl"),
])
def test_errors_name_file_line_and_fix(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_expander("file", path=write(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_errors_of_the_file_and_the_options(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_expander("file", path=tmp_path / "none.txt")
    with pytest.raises(InputError, match="not a file"):
        load_expander("file", path=tmp_path)
    with pytest.raises(InputError, match="path 3 of the file expander"):
        load_expander("file", path=3)
    with pytest.raises(InputError, match=r"q\.txt:2: not UTF-8"):
        load_expander("file", path=write(tmp_path, "q.txt", "a\tb\na\tgrün", "latin-1"))
    good = write(tmp_path, "g.txt", "a\tb")
    with pytest.raises(InputError, match="option label 'x/y' of the file expander must be text"):
        load_expander("file", path=good, label="x/y")
    with pytest.raises(InputError, match="the file expander needs the option 'path'"):
        load_expander("file")
    with pytest.raises(InputError, match=r"option 'pth' is unknown to the file expander \(did you mean 'path'\?\)"):
        load_expander("file", pth="x")
    with pytest.raises(InputError, match=r"expander 'grammer' is unknown \(did you mean 'grammar'\?\); there is capt"):
        load_expander("grammer")
    with pytest.raises(InputError, match="class 'c' is unknown to the file expander"):
        load_expander("file", path=good).expand("c", 0, 0, 1)


def test_limits_hold_up_to_themselves(tmp_path):
    text, label = "x" * 10_000, "é" * 100
    path = write(tmp_path, "p.jsonl", json.dumps({"label": label, "text": text, "captions": [text]}))
    assert load_expander("file", path=path).expand(label, 0, 0, 1)[0].text == text
    with path.open("r+b") as file:
        file.truncate(256 * 2**20 + 1)
    with pytest.raises(InputError, match=r"has 268,435,457 bytes and 268,435,456 are the most; split it"):
        load_expander("file", path=path)
