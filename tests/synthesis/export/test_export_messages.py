"""The columns that trainers of vision-language models look for, read by one of them."""

import datasets
import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.export.exporting import export
from terrasynth.synthesis.export.registry import load_exporter
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import rows


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    run(Recipe.parse({
        "name": "told", "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
        "prompts": {"classes": ["beach", "harbor"]}, "target": {"per_class": 3, "max_attempts": 8},
        "runtime": {"block_size": 3, "device": "cpu", "dtype": "float32"},
    }), root / "run")
    export(root / "run", load_exporter("messages", {"rows_per_shard": 4}), root / "out")
    return root


@pytest.fixture
def loaded(made, tmp_path):
    return datasets.load_dataset(str(made / "out"), split="train", cache_dir=str(tmp_path / "cache"))


def test_rows_hold_one_image_and_a_conversation(made, loaded):
    assert loaded.features["images"] == datasets.List(datasets.Image())
    assert [row["id"] for row in loaded] == [row["id"] for row in rows(made / "run")]
    for row, own in zip(loaded, rows(made / "run"), strict=True):
        assert [image.size for image in row["images"]] == [(32, 32)]
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"] * len(row["kinds"])
        assert row["messages"][1]["content"] == own["text"]
        assert not any("<image>" in turn["content"] for turn in row["messages"])
        assert row["basis"] == "prompt"
    assert list(verify(made / "out")) == []
    assert len(list((made / "out" / "data").iterdir())) == 2


def test_trl_finds_a_conversation_with_a_place_for_each_image(loaded):
    from trl import data_utils

    for row in loaded:
        assert data_utils.is_conversational(row)
        prepared = data_utils.prepare_multimodal_messages(row["messages"], images=row["images"])
        first = prepared[0]["content"]
        assert [part["type"] for part in first] == ["image", "text"]
        assert first[0]["image"].size == (32, 32)


def test_trl_trains_on_it_as_it_is(made, loaded, tmp_path):
    """A step of its trainer with a tiny model, processor and collator of its own choosing."""
    from trl import SFTConfig, SFTTrainer

    from tests.tiny_llava import tiny_llava

    model, processor = tiny_llava()
    settings = SFTConfig(output_dir=str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=2, max_length=None,
                         use_cpu=True, bf16=False, report_to=[], save_strategy="no", gradient_checkpointing=False)
    seen = []
    trainer = SFTTrainer(model, settings, train_dataset=loaded, processing_class=processor)
    real = trainer.data_collator

    def watched(examples):
        seen.extend(examples)
        return real(examples)

    trainer.data_collator = watched
    assert trainer.train().training_loss > 0
    assert {"messages", "images"} <= seen[0].keys()
