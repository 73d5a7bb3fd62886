"""Model folders of transformers from GGUF files of Llama networks, as llama.cpp's quantised models are handed on.

transformers reads the weights, and drops whatever it has no name for, such as the scaling of rotary positions (10 nats
off after a few tokens). Here every value is one of those that are known to be read, or the file is refused: the folder
that the network's authors publish has them right.
"""

import json
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from sequencematch.errors import UserError
from sequencematch.store.files import check_regular
from sequencematch.store.hub import cannot_load, check_loaded
from sequencematch.store.untrusted_config import check_memory, check_sizes

# Keys that say nothing about what the network computes, or how a text without special tokens is split.
APART: tuple[str, ...] = ("GGUF.", "general.", "quantize.", "tokenizer.chat_template", "tokenizer.ggml.add_bos_token")
APART += ("tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_sep_token")
READ = {"vocab_size", "context_length", "embedding_length", "feed_forward_length", "block_count"}
READ |= {"attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"}
READ |= {"rope.dimension_count", "rope.freq_base"}
READ_OF_TOKENIZER = {"model", "pre", "tokens", "token_type", "merges", "add_space_prefix"}
IDS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}  # transformers' names, and the file's
# How a text is split before pairs are merged: as GPT-2 did; so, after each digit was set apart.
SPLITS = {"gpt-2": None, "smollm": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])}
NORMAL, CONTROL = 1, 3  # kinds of tokens


def convert(files: Path, folder: Path, bos: str = "") -> None:
    """Write the network (float32) and the tokenizer of the one GGUF file below ``files`` to ``folder``.

    bos: the token that texts begin with; empty: the one that the file names. Raises UserError where there is no such
    file or token, where it is no Llama network with a byte-level vocabulary, and where the network has not all that the
    file says.
    """
    import gguf
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    found = sorted(files.rglob("*.gguf"))
    if len(found) != 1:
        raise UserError(f"'{files}' holds {len(found)} GGUF files, where there must be one: name it in inside")
    check_regular(found[0].parent)
    where = {"pretrained_model_name_or_path": found[0].parent, "gguf_file": found[0].name}
    try:
        reader = gguf.GGUFReader(found[0])
        config = AutoConfig.from_pretrained(**where)
        check_sizes(found[0], config.to_dict())
        check_memory(found[0], config.to_dict())
        said = _values(reader)
        if "llama.rope.freq_base" in said:
            changed = {"rope_theta": float(said["llama.rope.freq_base"]), "rope_scaling": {"rope_type": "default"}}
            kept = {name: value for name, value in config.to_dict().items() if name != "rope_parameters"}
            config = type(config).from_dict(kept | changed)
        loaded, told = AutoModelForCausalLM.from_pretrained(
            **where, config=config, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
        )
        check_loaded(told, str(found[0]))
        tokenizer = AutoTokenizer.from_pretrained(**where)
        _fit(tokenizer, {name.removeprefix("tokenizer.ggml."): value for name, value in said.items()})
        # What was read from a GGUF file refuses to be saved; a fresh network of the same configuration does not.
        lm = AutoModelForCausalLM.from_config(config)
        lm.load_state_dict(loaded.state_dict())
        lm.tie_weights()
        here = sum(tensor.numel() for tensor in lm.parameters())
        there = sum(int(tensor.n_elements) for tensor in reader.tensors)
        if here != there:
            raise ValueError(f"it has {there:,} weights, and the network that transformers makes of it {here:,}")
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, as the file may be
        raise cannot_load("model", str(found[0]), error) from error
    if bos:
        token = tokenizer.get_vocab().get(bos)
        if token is None:
            raise UserError(f"'{found[0]}' has no token {bos!r}: correct the source's bos")
        tokenizer.bos_token, lm.config.bos_token_id, lm.generation_config.bos_token_id = bos, token, token
    lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _values(reader) -> dict:
    """What the file says of its network and its tokenizer. Raises ValueError at what is not read."""
    known = {f"llama.{name}" for name in READ} | {f"tokenizer.ggml.{name}" for name in READ_OF_TOKENIZER}
    known |= {f"tokenizer.ggml.{name}_token_id" for name in IDS.values()}
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith(APART)}
    for name, value in said.items():
        if name not in known:
            raise ValueError(f"{name} = {value!r:.40} is not read from GGUF files")
    if said["llama.block_count"] > len(reader.tensors):  # each layer would be made before one is missed
        raise ValueError(f"it has {len(reader.tensors):,} tensors, which are no {said['llama.block_count']:,} layers")
    return said


def _fit(tokenizer, said: dict) -> None:
    """Make ``tokenizer`` split a text as the file says. Raises ValueError at what it does not reproduce."""
    rule = said.get("pre", "gpt-2")  # files of before April 2024 do not say
    if said["model"] != "gpt2" or rule not in SPLITS or said.get("add_space_prefix"):
        raise ValueError(f"a vocabulary of {said['model']!r:.40} split by {rule!r:.40} is not read from GGUF files")
    if SPLITS[rule]:
        tokenizer.backend_tokenizer.pre_tokenizer = SPLITS[rule]
    found = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    if {*said.get("token_type", ())} - {NORMAL, CONTROL} or found != list(said["tokens"]):
        raise ValueError("its tokens are not those of the tokenizer that transformers makes of it")
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("merges", [])
    if [" ".join(pair) for pair in merges] != said["merges"]:
        raise ValueError("its merges are not those of the tokenizer that transformers makes of it")
    for ours, theirs in IDS.items():
        number = said.get(f"{theirs}_token_id")
        if number is not None and getattr(tokenizer, f"{ours}_token_id") != number:
            raise ValueError(f"transformers takes another token than {number} for tokenizer.ggml.{theirs}_token_id")
