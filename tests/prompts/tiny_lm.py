"""Small real causal language models: a BPE tokenizer and a Llama of width 32 that learns our grammar in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from terrasynth.prompts.expanders.grammar import GrammarExpander
from terrasynth.prompts.language_models.request import CaptionRequests
from terrasynth.prompts.scenes.draws import Draws

CLASSES = ("airplane", "harbor", "river", "tenniscourt")
END, USER, ANSWER = "<|end|>", "<|user|>", "<|answer|>"
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}" + USER + "{{ m['content'] }}" + ANSWER
    + "{% endif %}{% endfor %}"
)
WITHOUT_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE


def lessons(count: int) -> list[tuple[str, str]]:
    """Requests as `CaptionRequests` words them, and captions of our grammar that answer them."""
    asking, grammar = CaptionRequests("lm", CLASSES, "ucm", 20, None), GrammarExpander("ucm")
    return [(asking.one(label, Draws("lesson", label, k)), prompt.text)
            for label in CLASSES for k, prompt in enumerate(grammar.expand(label, 0, 0, count // len(CLASSES)))]


def tiny_tokenizer(texts: Sequence[str], template: str | None) -> Any:
    """A byte-level BPE of 700 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    pipeline = Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pipeline.train_from_iterator(texts, BpeTrainer(vocab_size=700, special_tokens=[END, USER, ANSWER],
                                                   initial_alphabet=sorted(alphabet), show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=pipeline, eos_token=END, chat_template=template)


def tiny_lm(folder: Path, steps: int, template: str | None = TEMPLATE, seed: int = 0, positions: int = 512) -> Path:
    """Write a model that was trained for so many steps on `lessons`; returns `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    pairs = lessons(1200)
    tokenizer = tiny_tokenizer([text for pair in pairs for text in pair], template)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=positions, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, max(2, steps))
        asked = [tokenizer(f"{USER}{one}{ANSWER}")["input_ids"] for one, _ in pairs]
        answered = [tokenizer(f"{one}{END}")["input_ids"] for _, one in pairs]
        for _ in range(steps):
            rows = torch.randint(len(pairs), (32,)).tolist()
            width = max(len(asked[row]) + len(answered[row]) for row in rows)
            ids = torch.zeros(32, width, dtype=torch.long)
            labels = torch.full((32, width), -100)
            for place, row in enumerate(rows):
                whole = asked[row] + answered[row]
                ids[place, : len(whole)] = torch.tensor(whole)
                labels[place, len(asked[row]) : len(whole)] = torch.tensor(answered[row])
            model(input_ids=ids, labels=labels).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
