"""The citation file has what CFF 1.2.0 asks for, nothing that it does not know, and the version of the package."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
NEEDED = {"authors", "cff-version", "message", "title"}
KNOWN = NEEDED | {"abstract", "keywords", "license", "references", "type", "version"}
OF_A_REFERENCE = {"authors", "identifiers", "notes", "title", "type", "url"}


def test_the_citation_file():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert NEEDED <= cited.keys() <= KNOWN
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert cited["authors"] == [{"name": "The TerraSynth authors"}]
    assert cited["version"] == package["version"]
    assert cited["license"] == package["license"].split(" AND ")[0]
    for reference in cited["references"]:
        assert {"authors", "title", "type"} <= reference.keys() <= OF_A_REFERENCE
        assert all(author.keys() == {"family-names", "given-names"} for author in reference["authors"])
        (identifier,) = reference["identifiers"]
        assert reference["url"] == f"https://arxiv.org/abs/{identifier['value'].removeprefix('arXiv:')}"
