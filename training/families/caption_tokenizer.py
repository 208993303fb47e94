"""A byte-level BPE tokenizer in CLIP's format, trained on the captions at hand (Sennrich et al., ACL 2016)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def train_tokenizer(captions: Iterable[str], vocabulary: int = 1280, length: int = 32) -> CLIPTokenizer:
    """Learn a tokenizer from captions; every byte is in its vocabulary, so that no word is unknown.

    Args:
        vocabulary: Number of tokens that the trainer may use, the 512 byte symbols included.
        length: `model_max_length` in tokens, start and end included.

    Returns:
        A `CLIPTokenizer`; end-of-text is the token with the highest id, as CLIP's pooling expects.
    """
    from transformers import CLIPTokenizer

    symbols = sorted(ByteLevel.alphabet())
    pipeline = CLIPTokenizer().backend_tokenizer  # CLIP's normalization and word splitting, with no merges yet
    ends = [symbol + WORD_END for symbol in symbols]
    # Named as special, the ends get their numbers before any text is read: else ties between merges fall by chance.
    trainer = BpeTrainer(vocab_size=vocabulary - 2, min_frequency=2, end_of_word_suffix=WORD_END,
                         initial_alphabet=symbols, special_tokens=ends, show_progress=False)
    pipeline.train_from_iterator(captions, trainer)
    model = json.loads(pipeline.to_str())["model"]
    learned = sorted(model["vocab"], key=model["vocab"].__getitem__)
    tokens = dict.fromkeys([*symbols, *ends, *learned])
    for special in (START, END):
        tokens.pop(special, None)
    vocab = {token: number for number, token in enumerate([*tokens, START, END])}
    merges: Any = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)


def encode(tokenizer: CLIPTokenizer, texts: list[str]) -> dict[str, list[list[int]]]:
    """Token ids and attention mask, padded to `model_max_length`; longer texts are cut."""
    encoded = tokenizer(texts, padding="max_length", truncation=True)
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
