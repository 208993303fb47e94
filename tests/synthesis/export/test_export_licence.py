"""The licence of an export follows from those of its parts, or is stated and may not be laxer."""

import json

import pytest
from huggingface_hub import DatasetCard

from terrasynth.synthesis.cards.licence_sources import load_licence, save_licence
from terrasynth.synthesis.cards.licences import Source, Statement, inherit
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.licence import combined
from terrasynth.synthesis.export.real import RealSet
from terrasynth.synthesis.export.rows import RunRows
from terrasynth.synthesis.verify.verifying import verify
from terrasynth.training.data import read_pairs
from tests.synthesis.exports import exported, run_rows, write_real, write_run
from tests.synthesis.helpers import fingerprint


@pytest.fixture
def run(tmp_path):
    """A run whose card says cc-by-4.0."""
    return write_run(tmp_path / "run", run_rows(1))


def real(folder, licence, extra=""):
    write_real(folder, [("beach", "train", seed, [f"real {folder.name} {seed}"]) for seed in (60_000, 60_001)])
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n{extra}---\n\n# real\n")
    return folder


def merged(run, folder, *sources, name="imagefolder", **settings):
    sets = [RealSet.of(source, read_pairs(source).pairs) for source in sources]
    return exported(run, folder, name, None, merge=sets, **settings)


def card(folder):
    data = DatasetCard.load(folder / "README.md").data.to_dict()
    return data["license"], data.get("license_name")


def section(folder):
    return (folder / "README.md").read_text().partition("\n## Licence\n")[2]


def test_parts_of_one_licence_keep_it(tmp_path, run):
    done = merged(run, tmp_path / "out", real(tmp_path / "one", "cc-by-4.0"), real(tmp_path / "two", "CC-BY-4.0"))
    assert (done.licence.licence, done.licence.missing) == ("cc-by-4.0", "")
    assert card(tmp_path / "out") == ("cc-by-4.0", None)
    names = [(part.role, part.name) for part in done.licence.sources]
    assert names == [("run", "tiny"), ("real data", "one"), ("real data", "two")]
    assert f"| run | tiny | `{RunRows(run).identity}` | cc-by-4.0 | its card |" in section(tmp_path / "out")
    assert "`cc-by-4.0`, derived" in section(tmp_path / "out")


def test_parts_of_several_licences_give_one_as_strict_as_all(tmp_path, run):
    merged(run, tmp_path / "out", real(tmp_path / "a", "mit"), real(tmp_path / "b", "cc-by-nc-4.0"))
    assert card(tmp_path / "out") == ("cc-by-nc-4.0", None)
    merged(run, tmp_path / "alike", real(tmp_path / "c", "cc-by-sa-4.0"))
    assert card(tmp_path / "alike") == ("cc-by-sa-4.0", None)


@pytest.mark.parametrize(("licence", "words"), [
    ("", "real data 'real': not stated"),
    ("unknown", "real data 'real': unknown"),
    ("[mit, gpl-3.0]", "real data 'real': other"),
])
def test_a_part_whose_terms_nobody_knows_leaves_it_open(tmp_path, run, licence, words):
    done = merged(run, tmp_path / "out", real(tmp_path / "real", licence))
    assert words in done.licence.missing
    assert card(tmp_path / "out") == ("other", "not-stated-yet")
    assert f"**Not stated yet**: what it asks is not known ({words}" in section(tmp_path / "out")


def test_parts_that_no_licence_joins_leave_it_open(tmp_path, run):
    done = merged(run, tmp_path / "out", real(tmp_path / "a", "cc-by-sa-4.0"), real(tmp_path / "b", "cc-by-nc-4.0"))
    assert "no one licence carries what these ask for together" in done.licence.missing
    assert card(tmp_path / "out") == ("other", "not-stated-yet")


def test_a_run_without_a_licence_leaves_it_open_and_says_what_is_missing(tmp_path, run):
    save_licence(run, inherit([Source("generator", "ldm", "other", "research-captions", found="its card")]))
    done = merged(run, tmp_path / "out", real(tmp_path / "real", "mit"))
    assert "run 'tiny': not stated" in done.licence.missing
    assert "generator 'ldm': other (research-captions)" in section(tmp_path / "out")
    save_licence(run, inherit([Source("generator", "ldm")], Statement("cc-by-nc-4.0", by="somebody")))
    assert merged(run, tmp_path / "out", tmp_path / "real").licence.licence == "cc-by-nc-4.0"
    assert "| cc-by-nc-4.0 | stated by somebody |" in section(tmp_path / "out")


def test_a_statement_is_kept_and_may_not_be_laxer(tmp_path, run):
    strict, unknown = real(tmp_path / "strict", "cc-by-nc-4.0"), real(tmp_path / "unknown", "")
    with pytest.raises(InputError, match=r"'mit' leaves out .*non-commercial, which run 'tiny' asks for"):
        merged(run, tmp_path / "out", strict, unknown, stated=Statement("mit", by="me"))
    with pytest.raises(InputError, match="leaves out non-commercial, which real data 'strict' asks for"):
        merged(run, tmp_path / "out", strict, unknown, stated=Statement("cc-by-4.0", by="me"))
    assert not (tmp_path / "out").exists()
    merged(run, tmp_path / "out", strict, unknown, stated=Statement("cc-by-nc-4.0", by="me"))
    assert card(tmp_path / "out") == ("cc-by-nc-4.0", None)
    assert "`cc-by-nc-4.0`, stated by me." in section(tmp_path / "out")
    again = merged(run, tmp_path / "out", strict, unknown)
    assert (again.changed, again.licence.stated_by) == (False, "me")
    write_run(run, run_rows(2))
    grown = merged(run, tmp_path / "out", strict, unknown)
    assert (grown.changed, grown.licence.stated_by) == (True, "me")
    assert list(verify(tmp_path / "out")) == []


def test_a_licence_that_changes_is_taken_up(tmp_path, run):
    source = real(tmp_path / "real", "mit")
    merged(run, tmp_path / "out", source)
    (source / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert merged(run, tmp_path / "out", source).changed
    assert card(tmp_path / "out") == ("cc-by-nc-4.0", None)
    merged(run, tmp_path / "fresh", source)
    assert fingerprint(tmp_path / "fresh") == fingerprint(tmp_path / "out")


def test_what_nothing_is_merged_with_is_under_the_licence_of_the_run(tmp_path, run):
    terms = Statement("other", "mine", "https://example.org/terms", "me")
    save_licence(run, inherit([Source("generator", "x")], terms))
    exported(run, tmp_path / "out", "coco")
    data = DatasetCard.load(tmp_path / "out" / "README.md").data
    found = {"license": data.license, "license_name": data.license_name, "license_link": data.license_link}
    assert tuple(found.values()) == ("other", "mine", "https://example.org/terms")
    assert "that of the run" in section(tmp_path / "out")
    assert load_licence(tmp_path / "out", rule=combined).header() == found


def test_parts_under_one_text_of_their_own_stay_under_it():
    terms = ("other", "mine", "https://example.org/terms")
    assert combined([Source("run", "a", *terms), Source("real data", "b", *terms)]).licence_name == "mine"
    assert combined([Source("run", "a", *terms), Source("real data", "b", "mit")]).missing
    assert combined([Source("run", "a"), Source("real data", "b")]).missing
    assert combined([Source("run", "a", "no-such-licence")]).missing


def test_the_command_states_it(terrasynth, tmp_path, run):
    command = ("export", run, "--format", "imagefolder", "--out", tmp_path / "out", "--merge", real(tmp_path / "r", ""))
    code, out, _ = terrasynth(*command, "--licence", "CC-BY-SA-4.0")
    assert code == 0
    assert "licence      cc-by-sa-4.0   (stated by whoever made it)\n" in out
    assert json.loads((tmp_path / "out" / "licence.json").read_text())["stated"]["licence"] == "cc-by-sa-4.0"
    for arguments, words in ((("--licence", "apache2"), "licence 'apache2' is unknown"),
                             (("--licence-name", "mine"), "go with --licence other"),
                             (("--licence", "mit"), "leaves out attribution, which run 'tiny' asks for")):
        code, _, err = terrasynth(*command, *arguments)
        assert code == 2
        assert words in err[0]
