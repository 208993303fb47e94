from transformers import CLIPTokenizer

from terrasynth.training.families.caption_tokenizer import encode, train_tokenizer

TEXTS = ["Two tennis courts beside a road .", "Many boats in the harbor .", "A river and a road ."] * 3


def test_known_words_are_one_token_and_no_word_is_unknown():
    tokenizer = train_tokenizer(TEXTS, vocabulary=700, length=16)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("two courts").input_ids)
    assert tokens == ["<|startoftext|>", "two</w>", "courts</w>", "<|endoftext|>"]
    for text in ("zebra", "数", "naïve #7!"):
        ids = tokenizer(text).input_ids
        assert ids.count(tokenizer.eos_token_id) == 1  # the unknown token is the end token in CLIP
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_the_end_token_has_the_highest_id_and_saving_changes_nothing(tmp_path):
    tokenizer = train_tokenizer(TEXTS, vocabulary=700, length=16)
    assert tokenizer.eos_token_id == len(tokenizer) - 1
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS).input_ids == tokenizer(TEXTS).input_ids
    assert again.model_max_length == 16


def test_texts_are_padded_and_cut_to_the_length():
    tokenizer = train_tokenizer(TEXTS, vocabulary=700, length=8)
    rows = encode(tokenizer, ["road", "a river and a road and a river and a road"])["input_ids"]
    assert [len(row) for row in rows] == [8, 8]
    assert rows[1][-1] == tokenizer.eos_token_id


def test_the_same_texts_give_the_same_tokenizer_every_time():
    texts = [f"{a} {b} near the {c}" for a in ("boats", "roads", "trees") for b in ("beside", "and") for c in TEXTS]
    first, *others = (train_tokenizer(texts, vocabulary=640).get_vocab() for _ in range(6))
    assert all(other == first for other in others)
    assert len(first) == 561  # 512 symbols of bytes, 2 marks, and the merges that occur twice
