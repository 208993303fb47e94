"""The data set card: README.md with the header that the Hugging Face Hub reads and the text that people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from synthesis.decisions import ClassDecisions
from synthesis.files import write_file
from synthesis.reporting import CONTACT_SHEET, describe_filter, prompt_drops

if TYPE_CHECKING:
    from synthesis.job import Job

# The Hub's size categories: upper bounds of the number of rows.
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(job: Job, classes: Sequence[ClassDecisions]) -> None:
    """Write the card of a run directory."""
    write_file(job.root / "README.md", card(job, classes))


def card(job: Job, classes: Sequence[ClassDecisions]) -> str:
    """The card's text: YAML header, what made the data set, counts, columns, limits."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    counts = [each.count for each in classes]
    outcomes = Counter(decision.reason or "accepted" for each in classes for decision in each)
    environment = Environment(loader=PackageLoader("synthesis"), undefined=StrictUndefined, autoescape=False)
    total = sum(count.accepted for count in counts)
    text = environment.get_template("card.md.j2").render(
        name=job.recipe.name,
        total=total,
        attempted=sum(count.attempted for count in counts),
        counts=counts,
        missed=", ".join(
            f"{count.label} ({count.accepted} of {count.target})" for count in counts if count.accepted < count.target
        ),
        outcomes=dict(sorted(outcomes.items())),
        prompts=prompt_drops(job, classes),
        sheet=CONTACT_SHEET,
        generator=job.source.name,
        revision=job.source.revision,
        recipe=job.recipe,
        filters=[
            {"name": name, "text": describe_filter(settings)}
            for name, settings in zip(job.recipe.filter_names, job.recipe.filters, strict=True)
        ],
        identity=job.identity.hash,
        runtime=job.runtime,
    )
    return f"---\n{yaml.safe_dump(header(job, total), sort_keys=False)}---\n\n{text}\n"


def header(job: Job, rows: int) -> dict[str, Any]:
    """The card's YAML header; `configs` keeps `load_dataset` to `data/`, away from blocks and decisions."""
    described = _dataset_info(sorted((job.root / "data").glob("*.parquet")), rows)
    return {
        "license": "other",
        "license_name": "not-stated-yet",
        "pretty_name": job.recipe.name,
        "language": ["en"],
        "task_categories": ["text-to-image", "image-to-text", "image-classification"],
        "tags": ["synthetic", "remote-sensing", "terrasynth"],
        "size_categories": [next((name for limit, name in SIZES if rows < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
        **described,
    }


def _dataset_info(shards: Sequence[Path], rows: int) -> dict[str, Any]:
    """Columns, rows and bytes.

    `load_dataset` keeps a local folder under a hash of its card's header: without these it would give the rows of
    yesterday to one who has grown the run, or those of another run in a folder of the same name.
    """
    if not shards:
        return {}
    import pyarrow.parquet as pq
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    size = sum(shard.stat().st_size for shard in shards)
    splits = SplitDict()
    splits.add(SplitInfo("train", num_bytes=size, num_examples=rows))
    info = DatasetInfo(features=Features.from_arrow_schema(pq.read_schema(shards[0])), download_size=size,
                       dataset_size=size, splits=splits)
    card = DatasetCardData()
    DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    found: dict[str, Any] = card.to_dict()
    return found
