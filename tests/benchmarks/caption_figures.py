"""Captions of real images by the COCO tools themselves: words by the Penn Treebank's rule, METEOR 1.5 with WordNet.

    python -m tests.benchmarks.caption_figures RSICD said.txt --split test

`said.txt` is what `terrasynth eval captions RSICD --captions said.txt` wrote. Needs Java and `pycocoevalcap`, whose
package brings METEOR. Prints each figure of ours beside theirs, and how many texts are split into other words.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Print figures of ours and of the COCO tools, a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("said", type=Path, help="One caption a line, in the order of the split.")
    parser.add_argument("--split", default="test")
    parser.add_argument("--distinct", action="store_true", help="Leave out captions that an image has twice.")
    arguments = parser.parse_args()

    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    from terrasynth.eval.metrics.captions import score_captions
    from terrasynth.eval.models.caption_words import caption_words
    from terrasynth.training.data import read_pairs

    pairs = read_pairs(arguments.data).split(arguments.split)
    said = arguments.said.read_text("utf-8").splitlines()
    texts = [tuple(dict.fromkeys(pair.captions)) if arguments.distinct else pair.captions for pair in pairs]
    ours = score_captions(said, texts)
    tokens = PTBTokenizer()
    theirs = tokens.tokenize({row: [{"caption": text} for text in own] for row, own in enumerate(texts)})
    own = tokens.tokenize({row: [{"caption": text}] for row, text in enumerate(said)})
    bleu = Bleu(4).compute_score(theirs, own, verbose=0)[0]
    for order in range(4):
        print(f"BLEU-{order + 1}   ours {ours.bleu[order]:.4f}  COCO {bleu[order]:.4f}")
    print(f"ROUGE-L  ours {ours.rouge_l.mean():.4f}  COCO {Rouge().compute_score(theirs, own)[0]:.4f}")
    print(f"CIDEr-D  ours {ours.cider.mean():.4f}  COCO {Cider().compute_score(theirs, own)[0]:.4f}")
    print(f"METEOR                COCO {Meteor().compute_score(theirs, own)[0]:.4f}")
    other = sum(" ".join(caption_words(text)) != split for row, split_texts in theirs.items()
                for text, split in zip(texts[row], split_texts, strict=True))
    print(f"n = {len(said)}; {other} of {sum(map(len, texts))} texts are split into other words")


if __name__ == "__main__":
    main()
