"""The data set card: README.md with the header that the Hugging Face Hub reads and the text that people read.

Its end, what is written below `TAIL`, tells what can change after the images were made: evaluation and licence.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from terrasynth.prompts.addresses import shown
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.synthesis.cards.evaluation import evaluation_tables
from terrasynth.synthesis.cards.header import split_card
from terrasynth.synthesis.cards.left_here import left_here, ontology_option
from terrasynth.synthesis.cards.licence_sources import load_licence, save_licence, sources_of
from terrasynth.synthesis.cards.licences import Licence
from terrasynth.synthesis.cards.run_report import CONTACT_SHEET, describe_files, describe_filter, prompt_drops
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import LeftOut
from terrasynth.synthesis.core.files import readable, sha256, write_file
from terrasynth.synthesis.core.identity import canonical
from terrasynth.synthesis.execution.unread import Unread, warnings_of
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.synthesis.ledger.judged_rows import REVIEW, unseen_line

if TYPE_CHECKING:
    from terrasynth.synthesis.execution.job import Job

# The Hub's size categories: upper bounds of the number of rows.
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
TAIL = "<!-- From here on the text is written anew by `terrasynth run` and `terrasynth push`. -->"
LICENCE_KEYS = ("license", "license_name", "license_link")
ANYWHERE = 'load_dataset("PATH"'


def write_card(job: Job, classes: Sequence[ClassDecisions], written: Mapping[str, str], left_out: LeftOut,
               unread: Sequence[Unread]) -> None:
    """Write the card of a run directory, and `licence.json` with what the data set was made with.

    Args:
        written: SHA-256 of the files of the data set, by name.
        left_out: What was cut out of captions and scenes.
        unread: What the models never met in training.
    """
    licence = load_licence(job.root, sources_of(job.recipe, job.source.folder, job.source.revision))
    save_licence(job.root, licence)
    write_file(job.root / layout.CARD, card(job, classes, licence, written, left_out, unread))


def card(job: Job, classes: Sequence[ClassDecisions], licence: Licence, written: Mapping[str, str], left_out: LeftOut,
         unread: Sequence[Unread]) -> str:
    """The card's text: YAML header, what made the data set, counts, columns, limits, evaluation, licence."""
    from terrasynth.eval.markdown import Ready

    counts, tree = [each.count for each in classes], job.recipe.tree()
    files = describe_files(classes)
    outcomes = Counter[str]()
    for each in classes:
        outcomes.update({reason or "accepted": count for reason, count in each.reasons.items()})
    total = sum(count.accepted for count in counts)
    unseen = sum(decision.accepted and decision.scores[REVIEW] is None for each in classes for decision in each
                 ) if REVIEW in job.recipe.filter_names else 0
    text = _render(
        "card.md.j2",
        name=job.recipe.name,
        total=total,
        drawn=sum(outcomes.values()),
        judged=sum(count.judged for count in counts),
        undecided=sum(count.waiting for count in counts),
        counts=counts,
        missed=", ".join(
            f"{count.label} ({count.accepted} of {count.target})" for count in counts if count.short
        ),
        waiting=", ".join(f"{count.label} ({count.waiting})" for count in counts if count.waiting),
        unseen=Ready(unseen_line(unseen, total)),
        outcomes=dict(sorted(outcomes.items())),
        prompts=prompt_drops(job, classes),
        left_out=left_out,
        layouts=job.identity.has_layouts,
        pairs=job.identity.has_pairs,
        classes=load_catalog().classes,
        warnings=[*(f"{line}." for line in job.otherwise), *warnings_of(job.recipe, unread)],
        unread=[line for one in unread if not one.found for line in one.lines()],
        sheet=CONTACT_SHEET if total else "",
        generator=job.source.name,
        revision=job.source.revision,
        settings=_settings(job),
        recipe=job.recipe,
        source=job.source,
        filters=[
            {"name": name, "text": describe_filter(settings), "revision": _revision(job.encoders.model_of(name)),
             "file": files.get(name, "")}
            for name, settings in zip(job.recipe.filter_names, job.recipe.filters, strict=True)
        ],
        left_here=[(each.key, each.name, each.made) for each in left_here(tree)],
        ontology=Ready(ontology_option(tree)),
        identity=job.identity.hash,
        computed_on=job.runtime.described,
    )
    return _joined(header(job.root, job.recipe.name, total, licence, written), text, tail(job.root, licence))


def header(
    root: Path, name: str, rows: int, licence: Licence, written: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The card's YAML header; `configs` keeps `load_dataset` to `data/`, away from blocks and decisions.

    Args:
        written: SHA-256 of its files by name; None to read them.
    """
    shards = layout.shard_files(root)
    hashes = {shard.name: (written or {}).get(f"data/{shard.name}") or sha256(shard) for shard in shards}
    described = _dataset_info(shards, rows, content_note(hashes))
    return {
        **licence.header(),
        "pretty_name": name,
        "language": ["en"],
        "task_categories": ["text-to-image", "image-to-text", "image-classification"],
        "tags": ["synthetic", "remote-sensing", "terrasynth"],
        "size_categories": [next((name for limit, name in SIZES if rows < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": layout.DATA}]}],
        **described,
    }


def tail(root: Path, licence: Licence) -> str:
    """The end of the card: the run's evaluation, where there is one, and what licence it has and why."""
    figures, unread = evaluation_tables(root)
    return _render("card_tail.md.j2", figures=figures, unread=unread, licence=licence)


def refreshed(text: str, root: Path, licence: Licence) -> str:
    """A run's card with the evaluation and the licence of today, all else as it was written.

    Raises:
        RunError: It has no YAML header.
    """
    found, body = split_card(text, root / "README.md", "run again, which writes it anew")
    kept = {key: value for key, value in found.items() if key not in LICENCE_KEYS}
    body = body.partition(f"\n{TAIL}\n")[0] if TAIL in body else body.partition("\n## Licence\n")[0]
    return _joined(licence.header() | kept, body.strip("\n"), tail(root, licence))


def published(text: str, repository: str, revision: str) -> str:
    """A card as it stands on the Hub: what loads the data set is told its name there."""
    place = f'load_dataset("{repository}"' + ("" if revision == "main" else f', revision="{revision}"')
    return text.replace(ANYWHERE, place).replace("  # PATH: this folder, or its name on the Hub", "")


def _joined(fields: Mapping[str, Any], text: str, end: str) -> str:
    return f"---\n{yaml.safe_dump(dict(fields), sort_keys=False)}---\n\n{text}\n\n{TAIL}\n\n{end}\n"


def _render(template: str, **values: object) -> str:
    from terrasynth.eval.markdown import markdown_environment

    return markdown_environment("terrasynth.synthesis.cards").get_template(template).render(**values)


def _revision(model: Any) -> str:  # noqa: ANN401 - an encoder, a classifier, or None
    """Content hash, or commit on the Hub, of what a filter measures with; "" where it is no model."""
    identity = model.identity() if hasattr(model, "identity") else {}
    return str(identity.get("content") or identity.get("revision") or "")


def _settings(job: Job) -> dict[str, str]:
    """What decides the images beside generator, steps, guidance and seed, as the identity has it."""
    from terrasynth.eval.markdown import Ready, plain

    generator = {key: value for key, value in job.source.identity().items()
                 if key not in ("revision", "steps", "guidance") and value not in (None, "auto", {})}
    expander = {key: value for key, value in job.expander.identity().items() if key != "expander"}
    found = {"generator": generator, "prompts": expander}
    return {name: Ready(", ".join(f"{plain(key)} {_short(value)}" for key, value in each.items()))
            for name, each in found.items()}


def _short(value: object) -> str:
    from terrasynth.eval.markdown import code

    text = shown(yaml.safe_dump(value, default_flow_style=True, width=1_000)).removesuffix("...\n").strip()
    return code(text if len(text) <= 60 else f"{text[:57]}...")


def content_note(hashes: Mapping[str, str]) -> str:
    """A line that is another for files of another content.

    `load_dataset` keeps what it prepared of a local folder under the folder's name and a hash of the card's header, and
    looks at no file: without this line it would give the rows of yesterday to one who has grown the run or judged it
    again, or those of another run in a folder of the same name.

    Args:
        hashes: SHA-256 of each file, by name.
    """
    return f"SHA-256 over the hashes of the data files: {hashlib.sha256(canonical(hashes).encode()).hexdigest()}"


def _dataset_info(shards: Sequence[Path], rows: int, content: str) -> dict[str, Any]:
    """Columns, rows, bytes, and what tells this content from any other."""
    if not shards:
        return {}
    import pyarrow.parquet as pq
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    size = sum(shard.stat().st_size for shard in shards)
    splits = SplitDict()
    splits.add(SplitInfo("train", num_bytes=size, num_examples=rows))
    info = DatasetInfo(features=Features.from_arrow_schema(pq.read_schema(readable(shards[0]))), download_size=size,
                       dataset_size=size, splits=splits)
    card = DatasetCardData()
    DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    found: dict[str, Any] = card.to_dict()
    found["dataset_info"]["description"] = content
    return found
