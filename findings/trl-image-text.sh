#!/usr/bin/env bash
# trl 1.16.0: where a row has `image`, SFTTrainer keeps only messages, prompt, completion, image and images. The column
# `text`, which its collator for pictures reads, is removed before it gets there, and training stops with a KeyError that
# names `image` alone. With remove_unused_columns=False the same rows train.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    trl==1.16.0 transformers==5.23.0 datasets==5.2.0 torch==2.13.0 pillow==13.0.0
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 CUDA_VISIBLE_DEVICES=""
"$work/venv/bin/python" - "$work" 2>"$work/errors" <<'PYTHON_CODE' || { code=$?; tail -5 "$work/errors"; exit "$code"; }
import sys

import torch
import transformers
import trl
from datasets import Dataset, Features, Image, Value
from PIL import Image as Picture
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

WORDS = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "a", "river"]


def processor():
    tokens = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokens.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="<pad>", unk_token="<unk>", bos_token="<s>",
                                        eos_token="</s>", additional_special_tokens=["<image>"])
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    return LlavaProcessor(pictures, tokenizer, patch_size=14, vision_feature_select_strategy="default",
                          image_token="<image>", num_additional_image_tokens=1)


def model():
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlavaForConditionalGeneration(LlavaConfig(
        vision_config=CLIPVisionConfig(**small, image_size=28, patch_size=14),
        text_config=LlamaConfig(**small, vocab_size=len(WORDS), max_position_embeddings=64, pad_token_id=0),
        image_token_index=4, vision_feature_layer=-1, image_seq_length=4,
    ))


def trained(rows, remove):
    settings = trl.SFTConfig(f"{sys.argv[1]}/out-{remove}", max_steps=1, per_device_train_batch_size=2, report_to=[],
                             use_cpu=True, bf16=False, max_length=None, remove_unused_columns=remove, save_strategy="no")
    trainer = trl.SFTTrainer(model(), settings, train_dataset=rows, processing_class=processor())
    try:
        trainer.train()
    except KeyError as error:
        return str(error)
    return "trained one step"


picture = Picture.new("RGB", (28, 28), (90, 120, 60))
rows = Dataset.from_dict({"image": [picture] * 4, "text": ["<image> a river"] * 4},
                         features=Features({"image": Image(), "text": Value("string")}))
print(f"trl {trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
print(f"columns: {rows.column_names}; expected of both: trained one step")
default, kept = trained(rows, True), trained(rows, False)
print(f"seen by default:                   {default}")
print(f"seen, remove_unused_columns=False: {kept}")
sys.exit(0 if "['image']" in default and kept == "trained one step" else 1)
PYTHON_CODE
