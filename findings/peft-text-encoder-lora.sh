#!/usr/bin/env bash
# transformers 5.6 took `text_model` out of the names of CLIPTextModel's layers. A LoRA that peft saved beside
# an earlier transformers has it in its names; beside a later one peft 0.21.2 finds none of its tensors, warns, and returns a
# model whose adapter is the one of its initialization: zero.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
install() { "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check peft==0.21.2 torch==2.13.0 "$@"; }
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=""
cat >"$work/lora.py" <<'PYTHON_CODE'
import sys

import peft
import torch
import transformers
from transformers import CLIPTextConfig, CLIPTextModel

folder, step = sys.argv[1:]
config = CLIPTextConfig(vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                        num_attention_heads=2, max_position_embeddings=8, bos_token_id=0, eos_token_id=1)
tokens = torch.tensor([[0, 5, 6, 1]])


def answer(model):
    with torch.no_grad():
        return model(input_ids=tokens).last_hidden_state


def moved(model):
    """How far the adapter moves the network's answer."""
    with model.disable_adapter():
        plain = answer(model)
    return float((answer(model) - plain).abs().max())


torch.manual_seed(0)
base = CLIPTextModel(config).eval()
if step == "save":
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # which begin as zero; a training moves them
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
else:
    model = peft.PeftModel.from_pretrained(base, folder).eval()
name = next(name for name, _ in model.named_parameters() if "lora_B" in name)
print(f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}: "
      f"{step}, {name}, moves the answer by {moved(model):.6f}")
sys.exit(0 if (moved(model) > 0.001) == (step == "save") else 1)
PYTHON_CODE
install transformers==4.57.6
"$work/venv/bin/python" "$work/lora.py" "$work/lora" save
install transformers==5.23.0
echo "expected after loading: about the same"
"$work/venv/bin/python" "$work/lora.py" "$work/lora" load 2>"$work/errors" || { code=$?; tail -5 "$work/errors"; exit "$code"; }
grep -i -m 1 "missing adapter keys" "$work/errors" | cut -c1-160 || true
