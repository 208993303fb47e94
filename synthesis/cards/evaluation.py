"""The evaluations of a run, as tables for its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import one_line

# Where `terrasynth eval RUN` is told to write what the card is to show, and under which key a report holds the figures.
KEYS = ("evaluation", "figures")


def evaluation_tables(root: Path) -> tuple[list[list[str]], list[list[str]], str]:
    """Rows of the figures, rows of the scene accuracy by class, and what could not be read.

    Returns:
        Rows of metric, value, 95 % interval, null, real images, n, network; rows of class, accuracy, n; both empty
        without an evaluation. Then one line about a file that is there and could not be read, or "".
    """
    for place in layout.EVALUATIONS:
        path = root / place
        if not path.is_file():
            continue
        try:
            found = _evaluation(json.loads(path.read_text(encoding="utf-8")))
            return _figures(found), _by_class(found), ""
        except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
            return [], [], f"{place} holds no evaluation that this version reads ({one_line(error)[:80]})"
    return [], [], ""


def _evaluation(content: Mapping[str, Any]) -> Mapping[str, Any]:
    if "scene" in content:
        return content
    return next(content[key] for key in KEYS if isinstance(content.get(key), dict) and "scene" in content[key])


def _figures(found: Mapping[str, Any]) -> list[list[str]]:
    scene, alignment, frechet = found["scene"], found["alignment"], found.get("frechet")
    rows = [
        ["scene accuracy", *_figure(scene["accuracy"]), f"{scene['chance']:.3f} (chance)",
         _real(scene.get("ceiling")), _n(scene["accuracy"]), _network(scene["network"])],
        ["text and picture, cosine", *_figure(alignment["score"]), _null(alignment), _real(alignment.get("ceiling")),
         _n(alignment["score"]), _network(alignment["network"])],
    ]
    if frechet:
        low, high, floor = frechet.get("low"), frechet.get("high"), frechet.get("floor")
        interval = "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
        real = "" if not floor else f"{floor['mean']:.2f} (n = {floor['n']} against {floor['n']})"
        rows.append(["Frechet distance, squared", f"{frechet['distance']:.2f}", interval, "", real,
                     f"{frechet['n']} against {frechet['n_reference']}", _network(frechet["network"])])
    for what, key in (("", "realism"), ("real pictures, coded and decoded: ", "coded")):
        if found.get(key):
            rows += _realism(what, found[key])
    return rows


def _realism(what: str, found: Mapping[str, Any]) -> list[list[str]]:
    network = _network(found["network"]) or "texture measures"
    rows = []
    for each in (found["coarse"], found["fine"]):
        name = f"{what}told apart by texture, {'72' if each['fine'] else '18'} measures"
        rows.append([name, f"{each['accuracy']:.3f}", f"{each['low']:.3f} to {each['high']:.3f}", "0.500 (a guess)",
                     f"{each['null']:.3f}", f"{each['n']} against {each['n']}", network])
    spectrum = found["spectrum"]
    counts = f"{spectrum['n']} against {spectrum['n_real']}"
    peaks = " / ".join(f"{value:+.1f}" for value in spectrum["peaks"].values())
    rows.append([f"{what}fine half of the spectrum", f"{spectrum['fine']:+.1f} dB", "", "", "0 dB", counts, network])
    rows.append([f"{what}grid peaks at {' / '.join(spectrum['peaks'])} px", f"{peaks} dB", "", "", "0 dB", counts,
                 network])
    return rows


def _by_class(found: Mapping[str, Any]) -> list[list[str]]:
    return [[label, f"{share:.2f}", str(n)] for label, (share, n) in sorted(found["scene"]["per_class"].items())]


def _figure(figure: Mapping[str, Any]) -> tuple[str, str]:
    return f"{figure['value']:.3f}", f"{figure['low']:.3f} to {figure['high']:.3f}"


def _n(figure: Mapping[str, Any]) -> str:
    return str(figure["n"])


def _null(alignment: Mapping[str, Any]) -> str:
    null = alignment.get("null")
    return f"{null['value']:.3f} ({alignment['null_kind']})" if null else ""


def _real(ceiling: Mapping[str, Any] | None) -> str:
    return f"{ceiling['value']:.3f} (n = {ceiling['n']})" if ceiling else ""


def _network(network: Mapping[str, Any]) -> str:
    name = network.get("model", "")
    return f"{name} {network.get('content') or network.get('revision') or ''}".strip()
