"""Tokenizers lose nothing, keep sequences short, and are the same to transformers."""

import json
import string
from types import SimpleNamespace

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS
from sequencematch.data.tokenizer import (
    Tokenizer,
    learned_deletions,
    load_tokenizer,
    pretrained_tokenizer,
    train_byte_tokenizer,
    train_tokenizer,
)
from sequencematch.errors import UserError
from sequencematch.evaluation.completions import perturbations
from sequencematch.settings.data import Translation

ALPHABET = string.ascii_letters + string.digits + string.punctuation + " \n\té"
TEXTS = ["What is the product of -1.5 and 20? Solution: ", "-30.0", ALPHABET]
TOKENIZER = train_tokenizer(TEXTS)
pieces = st.sampled_from([*ALPHABET, "What ", "is ", "<eos>", "<bkspc>", "? Solution: ", " Solution: "])
texts = st.lists(pieces).map("".join)


BYTES = train_byte_tokenizer([*TEXTS, "Où est-ce, mon ami ? C’est là-bas ; c’est là-bas."] * 3, 300)


@given(texts, st.text())
def test_text_survives(text, any_text):
    """Of the alphabet that was trained on, or, in bytes, any."""
    for tokenizer, written in ((TOKENIZER, text), (BYTES, text), (BYTES, any_text)):
        ids = tokenizer.encode(written)
        assert tokenizer.decode(ids) == tokenizer.render(ids) == written and len(ids) <= len(written.encode())
        assert not set(ids) & set(tokenizer.special_ids.values())  # a special token's name is plain text
        assert max(ids, default=0) < tokenizer.size


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


def test_an_unknown_character_is_named():
    with pytest.raises(UserError, match="'ß'"):
        TOKENIZER.encode("3ß")


def test_words_of_templates_and_single_digits():
    tokens = [TOKENIZER.decode([i]) for i in TOKENIZER.encode(TEXTS[0])]
    assert tokens == ["What ", "is ", "the ", "product ", "of ", *"-1.5", " and ", *"20", "? Solution: "]


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
    a_model(tmp_path, tokens=["<|endoftext|>"], eos="<|endoftext|>")
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.special_ids == {"pad": 0, "bos": 0, "eos": 0}
    text = "never seen: ß, 42"
    assert tokenizer.decode([*tokenizer.prompt(text), 0]) == text
    assert tokenizer.render([*tokenizer.encode("42"), tokenizer.bkspc]) == "42<bkspc>"


def test_missing_and_damaged_folders(tmp_path):
    with pytest.raises(UserError, match="tokenizer.json. is not there: run the step that makes it"):
        load_tokenizer(tmp_path)
    TOKENIZER.save(tmp_path)
    whole = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(tmp_path)


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


def test_rendered_actions_keep_characters_of_several_tokens():
    tokenizer = train_byte_tokenizer(["plain"], 260)
    ids = tokenizer.encode("née")
    assert len(ids) == 4  # the accent takes two
    actions = [*ids, tokenizer.bkspc, tokenizer.bkspc, *ids[-1:], tokenizer.special_ids["eos"]]
    assert tokenizer.render(actions) == "née<bkspc><bkspc>e<eos>"


# ---- other people's tokenizers -----------------------------------------------------------------------


def a_model(folder, *, rows=300, tokens=("<eos>",), eos="<eos>", edit=lambda fast: None, **config):
    """A model folder with a byte-level tokenizer that ``edit`` changes."""
    import tokenizers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=280, special_tokens=list(tokens), show_progress=False)
    fast = tokenizers.Tokenizer.from_str(bpe.to_str())
    edit(fast)
    PreTrainedTokenizerFast(tokenizer_object=fast, eos_token=eos).save_pretrained(folder)
    LlamaConfig(vocab_size=rows, max_position_embeddings=64, **config).save_pretrained(folder)
    return fast


def switch_on(fast):
    fast.enable_truncation(3)
    fast.enable_padding(length=40)
    fast.model.dropout = 0.9


@pytest.mark.parametrize("load", [load_tokenizer, lambda folder: pretrained_tokenizer(str(folder))])
def test_saved_truncation_padding_and_dropout_are_switched_off(tmp_path, load):
    a_model(tmp_path, edit=switch_on)
    tokenizer = load(tmp_path)
    text = "What is the product of -1.5 and 20?"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert {tuple(tokenizer.encode(text)) for _ in range(20)} == {tuple(tokenizer.encode(text))}
    assert not set(tokenizer.encode(text)) & set(tokenizer.special_ids.values())
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved/tokenizer.json").read_text())
    assert saved["truncation"] is saved["padding"] is saved["model"]["dropout"] is None


@pytest.mark.parametrize("token", ["<pad>", "<extra>"])
def test_a_token_without_a_row_is_refused_when_the_tokenizer_is_made(tmp_path, token):
    def add(fast):
        fast.add_special_tokens([token]) if token == "<pad>" else fast.add_tokens([token])

    size = a_model(tmp_path, edit=add).get_vocab_size()
    pretrained_tokenizer(str(tmp_path))
    a_model(tmp_path, edit=add, rows=size - 1)
    with pytest.raises(
        UserError, match=rf"has {size - 1} rows, and .*'{token}' \({size - 1}\).*resize_token_embeddings"
    ):
        pretrained_tokenizer(str(tmp_path))


def test_a_saved_tokenizer_with_a_token_at_the_id_of_backspace_is_refused(tmp_path):
    TOKENIZER.save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"bkspc_id": TOKENIZER.size - 1}))
    with pytest.raises(UserError, match="ids beyond them"):
        load_tokenizer(tmp_path)


def test_noise_writes_neither_special_tokens_nor_ids_without_a_token(tmp_path):
    import tokenizers

    vocabulary = {"<eos>": 0, "<mask>": 1, "1": 2, "2": 3, "3": 7}  # ids 4 to 6 belong to no token
    fast = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="1"))
    fast.add_special_tokens(["<eos>", "<mask>"])
    tokenizer = Tokenizer(fast, dict.fromkeys(("pad", "bos", "eos"), "<eos>"), bkspc=9)
    assert tokenizer.ordinary_ids == [2, 3, 7] and tokenizer.size == 8
    example = Example([0], [2, 3, 0], 10, "12")
    for kind in ("random", "unigram"):
        (weights,) = KINDS[kind](tokenizer, [example, Example([0], [1, 7], 10, "")])([example])
        assert set(weights[0].nonzero()[0]) <= {2, 3, 7} and weights.shape == (3, 8)
    assert perturbations([example], "random", tokenizer) == [[2, 3, 7]]


def without_tokenizer(folder):
    from transformers import GPT2Config

    GPT2Config(vocab_size=300).save_pretrained(folder)


def without_end(folder):
    a_model(folder, eos=None)


def of_bytes(folder):
    from transformers import ByT5Tokenizer, T5Config

    T5Config(vocab_size=384, tokenizer_class="ByT5Tokenizer").save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (without_tokenizer, "holds no tokenizer: put its files (vocab.json, merges.txt, tokenizer.json)"),
        (without_end, "names no end token (eos_token)"),
        (of_bytes, "(ByT5Tokenizer) has no fast version"),
        (lambda folder: folder.mkdir(), "is no model folder: it holds no config.json"),
        (lambda folder: folder.write_text("x"), "is a file: give the path of the model's folder"),
    ],
)
def test_a_model_whose_tokenizer_cannot_serve_is_one_sentence(tmp_path, make, sentence):
    make(tmp_path / "model")
    with pytest.raises(UserError) as refusal:
        pretrained_tokenizer(str(tmp_path / "model"))
    message = str(refusal.value)
    assert sentence in message and str(tmp_path / "model") in message and "\n" not in message
    assert "local copy" not in message and "hub" not in message


def saved(fast, folder):
    Tokenizer(fast, {"pad": "!", "bos": "!", "eos": "!"}).save(folder)
    return load_tokenizer(folder)


def of_letters():
    return tokenizers.Tokenizer(tokenizers.models.WordLevel({"!": 0, "a": 1}, unk_token="!"))


def test_an_expression_that_backtracks_is_one_sentence(tmp_path):
    """The library panics, which is no Exception."""
    fast = of_letters()
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    with pytest.raises(UserError, match="retry-limit.* of the text") as refusal:
        saved(fast, tmp_path).encode("a" * 3000 + "!")
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("part", ["normalizer", "decoder"])
def test_rules_that_make_far_more_of_a_text_are_refused(tmp_path, part):
    fast, kinds = of_letters(), {"normalizer": tokenizers.normalizers, "decoder": tokenizers.decoders}[part]
    setattr(fast, part, kinds.Sequence([kinds.Replace("a", "aa")] * 9))
    assert saved(fast, tmp_path).encode("a") is not None
    setattr(fast, part, kinds.Sequence([kinds.Replace("a", "aa")] * 40))
    with pytest.raises(UserError, match="characters for one"):
        saved(fast, tmp_path)


@pytest.mark.parametrize(
    ("named", "count"),
    [(9, 1), ([8, 9], 2), (8, 0), ([9, 8], 0), (None, 0), ("9", 0), ([], 0), ([*range(10)], 0), ([*range(-1, 10)], 0)],
)
def test_learned_deletions_are_the_last_of_ten_rows(named, count):
    assert learned_deletions(SimpleNamespace(bkspc_token_id=named), 10) == count
