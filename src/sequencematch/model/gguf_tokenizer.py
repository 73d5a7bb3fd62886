"""The tokenizer that transformers makes of a GGUF file, held against what the file says of it.

Where transformers does not know how a file splits a text, it splits it as GPT-2 did; keys that it has no name for are
lost.
"""

import json

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

# How a text is split before pairs are merged (tokenizer.ggml.pre), as llama.cpp has it: as GPT-2 did; so, after each
# digit was set apart; by rules that transformers knows, where a word that is a token is not merged from pairs.
AS_GPT_2 = {"gpt-2", "phi-2", "roberta-bpe", "gigachat", "mpt", "olmo", "jais", "trillion", "granite-docling"}
DIGITS_APART = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
WHOLE = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken"}
USED = {"model", "pre", "tokens", "token_type", "scores", "merges", "add_space_prefix"}
# Nothing that a text without special tokens and templates is split by.
APART = ("chat_template", "ggml.add_bos_token", "ggml.add_eos_token", "ggml.add_sep_token")
IDS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}  # transformers' names, and the file's
CONTROL, USER_DEFINED = 3, 4  # kinds of tokens


def fit(tokenizer, reader) -> None:
    """Make ``tokenizer`` split a text as the file of ``reader`` says; ValueError at what it does not reproduce."""
    names = [name.removeprefix("tokenizer.") for name in reader.fields if name.startswith("tokenizer.")]
    said = {
        name.removeprefix("ggml."): reader.fields[f"tokenizer.{name}"].contents()
        for name in names
        if not name.startswith(APART)
    }
    for key, value in said.items():
        if value and key not in USED and not key.endswith("_token_id"):
            raise ValueError(f"transformers has nothing for tokenizer.ggml.{key} = {value!r:.40}")
    if said["model"] == "gpt2" and "pre" in said:  # files of before April 2024 do not say
        _split(tokenizer.backend_tokenizer, said["pre"])
    _check_tokens(tokenizer, said)
    fast = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if "merges" in said and [" ".join(pair) for pair in fast.get("merges", [])] != said["merges"]:
        raise ValueError("its merges are not those of the tokenizer that transformers makes of it")
    for ours, theirs in IDS.items():
        number = said.get(f"{theirs}_token_id")
        if number is not None and getattr(tokenizer, f"{ours}_token_id") != number:
            raise ValueError(f"transformers takes another token than {number} for tokenizer.ggml.{theirs}_token_id")
    prefix = said["model"] == "llama" and said.get("add_space_prefix", True)
    pieces = tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).tokens
    if "".join(pieces).startswith("▁") != prefix:
        raise ValueError(f"transformers has nothing for tokenizer.ggml.add_space_prefix = {prefix}")


def _split(fast: Tokenizer, rule: str) -> None:
    """Splits as GPT-2's, with digits apart, and what transformers has a rule for; others are refused."""
    try:
        from transformers.integrations.gguf import gguf_tokenizer_mapping as known

        rules = known.GGUF_PRE_TOKENIZER_SPLITS
    except (ImportError, AttributeError):  # an older one
        rules = {}
    if rule in DIGITS_APART:
        fast.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    elif rule not in AS_GPT_2 and rule not in rules:
        raise ValueError(f"transformers has no rule to split texts by for tokenizer.ggml.pre = {rule!r:.40}")
    if rule in WHOLE:
        fast.model.ignore_merges = True


def _check_tokens(tokenizer, said: dict) -> None:
    """Raises ValueError unless each token has its number, and those that are to be found whole in a text are."""
    tokens = said["tokens"]
    found, whole = tokenizer.convert_ids_to_tokens(range(len(tokens))), tokenizer.get_added_vocab()
    for token, other, kind in zip(tokens, found, said.get("token_type", [0] * len(tokens)), strict=True):
        # Control tokens need no spelling, as texts hold none; Gemma's runs of spaces have another one in transformers.
        alike = other == token or (kind == CONTROL and other) or (said["model"] != "gpt2" and not token.strip())
        if not alike or (kind == USER_DEFINED and token not in whole and token.strip()):
            raise ValueError(f"transformers has no token {token!r:.40} as it has")
    if len(tokenizer) != len(tokens):
        raise ValueError(f"it has {len(tokens):,} tokens, and transformers makes {len(tokenizer):,} of them")
