"""Rows become examples of token ids: for each family its prompts, its completions, and what is left out."""

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from support.experiment import run

from sequencematch.data.encoding import encode_document, encode_pair, encode_split
from sequencematch.data.examples import Example, load_examples
from sequencematch.data.tokenizer import SPECIALS, Tokenizer, load_tokenizer, train_byte_tokenizer
from sequencematch.errors import UserError
from sequencematch.settings.data import Arithmetic, Text, Translation
from sequencematch.store.datasets import load, save

TOKENIZER = train_byte_tokenizer(["the cat sleeps and the dog sleeps", "le chat dort et le chien dort"] * 5, 290)
BOS, EOS = TOKENIZER.special_ids["bos"], TOKENIZER.special_ids["eos"]


@given(st.text(), st.integers(2, 9), st.integers(1, 9))
def test_windows_are_the_document_in_order(text, prompt, continuation):
    """Put together they are its tokens, up to a rest shorter than a window."""
    windows = encode_document({"text": text}, TOKENIZER, Text(prompt=prompt, continuation=continuation))
    ids = TOKENIZER.encode(text)
    length = prompt - 1 + continuation
    assert len(windows) == len(ids) // length
    assert all(w.prompt[0] == BOS and len(w.prompt) == prompt for w in windows)
    assert all(len(w.completion) == continuation and w.base == 0 for w in windows)
    assert [token for w in windows for token in (*w.prompt[1:], *w.completion)] == ids[: len(windows) * length]
    assert all(w.text == TOKENIZER.decode(w.completion) and EOS not in w.completion for w in windows)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 12))
def test_a_pair_is_kept_where_both_sides_are_short_enough(english, french, longest):
    found = encode_pair({"prompt": english, "completion": french}, TOKENIZER, Translation(longest=longest))
    short = max(len(TOKENIZER.encode(english)), len(TOKENIZER.encode(french))) < longest  # <bos>, <eos> are counted
    prompt, completion = [BOS, *TOKENIZER.encode(english)], [*TOKENIZER.encode(french), EOS]
    assert found == ([Example(prompt, completion, 0, french)] if short else [])


def test_a_row_longer_than_the_context_is_named():
    rows = [{"prompt": "a", "completion": "b", "base": 10}, {"prompt": "xyz", "completion": "uvw", "base": 10}]
    assert len(encode_split("test", rows, TOKENIZER, Arithmetic(), context=8)[0]) == 2
    with pytest.raises(UserError) as caught:
        encode_split("test", rows, TOKENIZER, Arithmetic(), context=7)
    assert str(caught.value) == (
        "row 2 of split 'test' ('uvw') takes 8 tokens, more than the model's context of 7: "
        "raise model.context, or leave longer rows out"
    )


def make(root, family, rows, *, vocabulary=300, **options):
    """A dataset of the same rows in every split, its tokenizer and examples, by the real commands."""
    save(dict.fromkeys(("train", "validation", "test"), rows), root / "data", {"settings": {"family": family}})
    run("train_tokenizer", data=root / "data", output=root / "tokenizer", vocabulary=vocabulary)
    files = {"data": root / "data", "tokenizer": root / "tokenizer", "output": root / "examples"}
    return run("encode_examples", **files, **options, check=False)


def test_arithmetic_through_the_commands(inputs, tmp_path):
    files = {"data": inputs / "data", "tokenizer": inputs / "tokenizer"}
    (data, source), (examples, facts) = load(inputs / "data"), load_examples(inputs / "examples")
    tokenizer = load_tokenizer(inputs / "tokenizer")
    counts = {"train": 200, "validation": 40, "test": 40}
    assert (facts["family"], facts["counts"], facts["data_digest"]) == ("arithmetic", counts, source["digest"])
    for name, split in data.items():
        for row, example in zip(split, examples[name], strict=True):
            assert example.prompt == tokenizer.prompt(row["prompt"])
            assert example.completion == tokenizer.completion(row["solution"])
            assert (example.base, example.text) == (10, row["solution"])
    failed = run("encode_examples", **files, output=tmp_path / "no", context=4, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1) and "row 1 of split 'train'" in failed.stderr


def test_translation_through_the_commands(tmp_path):
    """The pairs left out are counted in the log and on record; where none is left, that is said."""
    rows = {"prompt": ["short: ", "long " * 30], "completion": ["court", "long"]}
    done = make(tmp_path, "translation", rows, longest=10)
    assert "train: 1 examples of 2 rows, 1 left out" in done.stderr
    examples, facts = load_examples(tmp_path / "examples")
    assert facts["left_out"] == {"train": 1, "validation": 1, "test": 1} and facts["settings"] == {"longest": 10}
    assert [example.text for example in examples["test"]] == ["court"]
    files = {"data": tmp_path / "data", "tokenizer": tmp_path / "tokenizer", "output": tmp_path / "none"}
    failed = run("encode_examples", **files, longest=2, check=False)
    assert (failed.returncode, failed.stderr) == (
        1,
        "error: no row of split 'train' gives an example: all 2 are longer than longest (2) tokens; "
        "change these settings\n",
    )


def test_text_through_the_commands(tmp_path):
    rows = {"text": ["one two three four five six seven", "eight"]}
    done = make(tmp_path, "text", rows, vocabulary=259, prompt=4, continuation=5)
    assert "train: 4 examples of 2 rows, 1 left out" in done.stderr
    examples, facts = load_examples(tmp_path / "examples")
    assert facts["settings"] == {"prompt": 4, "continuation": 5} and facts["family"] == "text"
    # 8 characters, which are tokens here, a passage: 3 of the prompt and 5 to come after them.
    assert [example.text for example in examples["train"]] == [" two ", "ee fo", "five ", " seve"]


def with_normalizer(normalizer):
    """Our tokenizer of bytes, which changes texts first."""
    fast = tokenizers.Tokenizer.from_str(TOKENIZER._fast.to_str())
    fast.normalizer = normalizer
    return Tokenizer(fast, SPECIALS)


@pytest.mark.parametrize(
    ("normalizer", "text", "kept"),
    [
        (tokenizers.normalizers.Prepend(" "), "28", " 28"),
        (tokenizers.normalizers.NFC(), "e\u0301te\u0301", "été"),
        (tokenizers.normalizers.NFKC(), "x² ﬁn", "x2 fin"),
        (tokenizers.normalizers.Lowercase(), "In Paris", "in paris"),
        (tokenizers.normalizers.Strip(), " -5 ", "-5"),
    ],
)
@pytest.mark.parametrize("family", [Arithmetic(), Translation()])
def test_what_a_tokenizer_makes_of_an_answer_is_what_answers_are_compared_with(normalizer, text, kept, family):
    tokenizer = with_normalizer(normalizer)
    rows = [{"prompt": "q: ", "completion": text, "base": 10}] * 2
    (example, _), _, altered = encode_split("test", rows, tokenizer, family, None)
    assert example.text == kept == tokenizer.decode(example.completion)  # a right answer counts as right
    assert altered == {1: (text, kept), 2: (text, kept)}
    assert (
        encode_split("test", [{"prompt": "q", "completion": kept.strip(), "base": 10}], TOKENIZER, family, None)[2]
        == {}
    )


@pytest.mark.parametrize("side", ["prompt", "completion"])
@pytest.mark.parametrize("unknown", ["<unk>", None])
@pytest.mark.parametrize("family", [Arithmetic(), Translation()])
def test_a_tokenizer_that_loses_characters_is_refused_with_the_first_example(side, unknown, family):
    vocabulary = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3, "1": 4, "2": 5, "+": 6}
    fast = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token=unknown))
    fast.decoder = tokenizers.decoders.Fuse()
    tokenizer = Tokenizer(fast, SPECIALS)
    rows = [{"prompt": "1+1", "completion": "2", "base": 10}, {"prompt": "2", "completion": "1", "base": 10}]
    rows[1][side] = "1×2"
    with pytest.raises(UserError, match="row 2 of split 'test': the tokenizer turns '1×2' into '1.*2'; it loses '×'"):
        encode_split("test", rows, tokenizer, family, None)


def test_rows_that_the_tokenizer_changes_are_on_record(tmp_path):
    rows = {"prompt": ["one: ", "two: "], "completion": ["un", "Deux"]}
    save(
        dict.fromkeys(("train", "validation", "test"), rows),
        tmp_path / "data",
        {"settings": {"family": "translation", "languages": ["en", "zh"]}},
    )
    (tmp_path / "tokenizer").mkdir()
    with_normalizer(tokenizers.normalizers.Lowercase()).save(tmp_path / "tokenizer")
    files = {"data": tmp_path / "data", "tokenizer": tmp_path / "tokenizer", "output": tmp_path / "examples"}
    done = run("encode_examples", **files)
    assert "train: the tokenizer changes 1 rows; row 2: 'Deux' becomes 'deux'\n" in done.stderr
    examples, facts = load_examples(tmp_path / "examples")
    assert facts["altered"]["test"] == {"rows": 1, "first": {"row": 2, "text": "Deux", "decoded": "deux"}}
    assert [example.text for example in examples["test"]] == ["un", "deux"] and facts["language"] == "zh"
