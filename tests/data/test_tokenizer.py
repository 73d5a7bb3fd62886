"""Tokenizers lose nothing, keep sequences short, and are the same to transformers."""

import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencematch.data.arithmetic import TASKS, generate
from sequencematch.data.tokenizer import (
    Tokenizer,
    load_tokenizer,
    pretrained_tokenizer,
    train_byte_tokenizer,
    train_tokenizer,
)
from sequencematch.errors import UserError
from sequencematch.settings.section import Arithmetic, Translation

ALPHABET = string.ascii_letters + string.digits + string.punctuation + " \n\té"
TEXTS = ["What is the product of -1.5 and 20? Solution: ", "-30.0", ALPHABET]
TOKENIZER = train_tokenizer(TEXTS)
pieces = st.sampled_from([*ALPHABET, "What ", "is ", "<eos>", "<bkspc>", "? Solution: ", " Solution: "])
texts = st.lists(pieces).map("".join)


@given(texts)
def test_text_survives(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.render(ids) == text
    assert not set(ids) & set(TOKENIZER.special_ids.values())  # a special token's name is plain text
    assert max(ids, default=0) < TOKENIZER.size


BYTES = train_byte_tokenizer([*TEXTS, "Où est-ce, mon ami ? C’est là-bas ; c’est là-bas."] * 3, 300)


@given(st.text() | texts)
def test_bytes_lose_nothing_whatever_the_text(text):
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == text and len(ids) <= len(text.encode())
    assert not set(ids) & set(BYTES.special_ids.values())


def test_a_byte_tokenizer_has_the_size_asked_for_and_merges_what_is_frequent():
    assert BYTES.size == BYTES.bkspc == 300 and BYTES.special_ids == TOKENIZER.special_ids
    assert len(BYTES.encode("C’est là-bas")) < len("C’est là-bas".encode()) / 2
    assert train_byte_tokenizer(["aa"], 300).size == 260  # one merge, and nothing more to merge
    with pytest.raises(ValueError, match="259"):
        Translation(vocabulary=258)
    assert train_byte_tokenizer([], 259).size == 259


@given(st.lists(texts.filter(bool), min_size=1), st.data())
def test_text_survives_whatever_the_training_texts(training, data):
    tokenizer = train_tokenizer(training)
    text = data.draw(st.text(st.sampled_from(sorted(set("".join(training)) | set(string.digits)))))
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(texts, texts)
def test_prompts_begin_and_completions_end(prompt, completion):
    bos, eos = TOKENIZER.special_ids["bos"], TOKENIZER.special_ids["eos"]
    assert TOKENIZER.prompt(prompt) == [bos, *TOKENIZER.encode(prompt)]
    assert TOKENIZER.completion(completion) == [*TOKENIZER.encode(completion), eos]
    assert TOKENIZER.decode(TOKENIZER.prompt(prompt) + TOKENIZER.completion(completion)) == prompt + completion


def test_ids_and_backspace():
    assert TOKENIZER.special_ids == {"pad": 0, "bos": 1, "eos": 2}
    assert TOKENIZER.bkspc == TOKENIZER.size
    two, three = TOKENIZER.encode("23")
    assert TOKENIZER.render([two, TOKENIZER.bkspc, three, 2]) == "2<bkspc>3<eos>"


def test_an_unknown_character_is_named():
    with pytest.raises(UserError, match="'ß'"):
        TOKENIZER.encode("3ß")


def test_words_of_templates_and_single_digits():
    tokens = [TOKENIZER.decode([i]) for i in TOKENIZER.encode(TEXTS[0])]
    assert tokens == ["What ", "is ", "the ", "product ", "of ", *"-1.5", " and ", *"20", "? Solution: "]


@pytest.mark.parametrize("task", TASKS)
def test_sequences_are_short(task):
    splits = generate(Arithmetic(generator=task, entropy=(1, 3), train=300, validation=20, test=20))
    text = [p + c for p, c in zip(splits["train"]["prompt"], splits["train"]["completion"], strict=True)]
    tokenizer = train_tokenizer(text)
    for split in splits.values():
        for prompt, completion in zip(split["prompt"], split["completion"], strict=True):
            assert tokenizer.decode(tokenizer.prompt(prompt) + tokenizer.completion(completion)) == prompt + completion
    lengths = [len(tokenizer.prompt(text)) + 1 for text in text]
    assert 12 <= sum(lengths) / len(lengths) <= 18
    assert max(map(len, text)) > 30  # of more than twice as many characters


@pytest.mark.parametrize("tokenizer", [TOKENIZER, BYTES], ids=["words", "bytes"])
def test_saved_and_loaded_by_us_and_by_transformers(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    ours, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert ours.encode(text) == ids
        assert theirs(text, add_special_tokens=False).input_ids == ids
        assert theirs.decode(ids) == text
    assert ours.special_ids == tokenizer.special_ids
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id) == (0, 1, 2)
    assert len(theirs) == ours.size == tokenizer.size


def test_a_pretrained_byte_level_tokenizer_loads(tmp_path):
    """Of the kind of GPT-2: one special token for all purposes, and bytes for unknown characters."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.special_ids == {"pad": 0, "bos": 0, "eos": 0}
    text = "never seen: ß, 42"
    assert tokenizer.decode(tokenizer.prompt(text) + [0]) == text
    assert tokenizer.render([*tokenizer.encode("42"), tokenizer.bkspc]) == "42<bkspc>"


def test_missing_and_damaged_folders(tmp_path):
    with pytest.raises(UserError, match="tokenizer.json is missing"):
        load_tokenizer(tmp_path)
    TOKENIZER.save(tmp_path)
    whole = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(tmp_path)


def test_loading_needs_neither_torch_nor_transformers():
    code = "import sys, sequencematch.data.tokenizer; print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("train", [train_tokenizer, lambda texts: train_byte_tokenizer(texts, 300)])
def test_two_tokenizers_of_the_same_texts_are_equal(train, tmp_path):
    for name, order in (("a", TEXTS), ("b", TEXTS[::-1])):
        (tmp_path / name).mkdir()
        train(order).save(tmp_path / name)
    assert (tmp_path / "a/tokenizer.json").read_text() == (tmp_path / "b/tokenizer.json").read_text()
    assert isinstance(load_tokenizer(tmp_path / "a"), Tokenizer)


def test_a_pretrained_models_own_tokenizer(tmp_path):
    """Its ``<bkspc>`` is the id after the model's rows, which may be more than the tokenizer's tokens."""
    from support.networks import tiny_llama

    model = tmp_path / "model"
    tiny_llama(vocabulary=100).save_pretrained(model)
    train_tokenizer(["12 and 3", "7, 8"]).save(model)
    tokenizer = pretrained_tokenizer(str(model))
    assert tokenizer.size < tokenizer.bkspc == 100
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.bkspc == 100 and again.context == 64 and again.special_ids == tokenizer.special_ids
    assert again.decode(again.completion("12, 3")) == "12, 3"
    assert again.render([*again.encode("1"), 100]) == "1<bkspc>"


def test_an_unreachable_tokenizer_is_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="cannot load the tokenizer of 'nobody/nothing'.*local copy"):
        pretrained_tokenizer("nobody/nothing")


def test_rendered_actions_keep_characters_of_several_tokens():
    tokenizer = train_byte_tokenizer(["plain"], 260)
    ids = tokenizer.encode("née")
    assert len(ids) == 4  # the accent takes two
    actions = [*ids, tokenizer.bkspc, tokenizer.bkspc, *ids[-1:], tokenizer.special_ids["eos"]]
    assert tokenizer.render(actions) == "née<bkspc><bkspc>e<eos>"
