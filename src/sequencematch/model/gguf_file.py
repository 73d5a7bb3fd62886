"""Model folders of transformers from GGUF files, the form in which llama.cpp's quantised models are handed on.

transformers reads the weights, and only some of the other values: it drops the scaling of rotary positions (10 nats off
after a few tokens), windows, and whatever it has no name for. Here every value is used, or the file is refused. Scaled
positions are refused: the folder that their authors publish has them right.
"""

from pathlib import Path

import torch

from sequencematch.errors import UserError
from sequencematch.model.gguf_tokenizer import fit
from sequencematch.store.files import check_regular
from sequencematch.store.hub import cannot_load, check_loaded
from sequencematch.store.untrusted_config import check_memory, check_sizes

# Keys that say nothing about what the network computes.
APART = ("GGUF.", "general.", "tokenizer.", "quantize.", "split.")
HARMLESS = ("vocab_size", "tensor_data_layout")  # the first is the number of rows
ROPE = ("rope.dimension_count", "rope.freq_base", "rope.freq_base_swa")
BASE = 10_000.0  # of rotary positions, where a file names none
SCALING = ("rope.scaling.", "rope.scale_")
UNSCALED = ("none", "linear", 0, 1)  # values of SCALING that scale nothing: a linear scale has its factor
LENGTHS = ("rope.scaling.original_context_length", "rope.scaling.finetuned")
FREQUENCIES = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")


def convert(files: Path, folder: Path, bos: str = "") -> None:
    """Write the network (float32) and the tokenizer of the one GGUF file below ``files`` to ``folder``.

    bos: the token that texts begin with; empty: the one that the file names. Raises UserError where there is no such
    file or token, where transformers cannot read it, and where the network has not all that the file says.
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
        values = _values(reader)
        config = _completed(config, values)
        loaded, told = AutoModelForCausalLM.from_pretrained(
            **where, config=config, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
        )
        check_loaded(told, str(found[0]))
        tokenizer = AutoTokenizer.from_pretrained(**where)
        fit(tokenizer, reader)
        # What was read from a GGUF file refuses to be saved; a fresh network of the same configuration does not.
        lm = AutoModelForCausalLM.from_config(config)
        lm.load_state_dict(loaded.state_dict())
        lm.tie_weights()
        _check_all_is_used(lm, reader)
        _check_positions(lm, values)
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


def _check_all_is_used(lm, reader) -> None:
    names = lm.state_dict().keys()
    kept = [*lm.parameters(), *(buffer for name, buffer in lm.named_buffers() if name in names)]
    here = sum(tensor.numel() for tensor in kept)
    there = sum(int(tensor.n_elements) for tensor in reader.tensors)
    if here != there:
        raise ValueError(f"it has {there:,} weights, and the network that transformers makes of it {here:,}")


def _values(reader) -> dict:
    """What the file says of its network, without the architecture before each name."""
    fields = {name: field for name, field in reader.fields.items() if not name.startswith(APART)}
    if "split.count" in reader.fields and reader.fields["split.count"].contents() > 1:
        raise ValueError("it is one of several parts, which llama-gguf-split --merge joins")
    values = {name.partition(".")[2]: field.contents() for name, field in fields.items()}
    if values["block_count"] > len(reader.tensors):  # each layer would be made before one is missed
        raise ValueError(f"it has {len(reader.tensors):,} tensors, which are no {values['block_count']:,} layers")
    _check_unscaled(reader, values)
    return values


def _completed(config, values: dict):
    """The configuration that transformers makes of the file, with what it left out. ValueError at what has no name."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    content = config.to_dict()
    names = GGUF_CONFIG_MAPPING.get(config.model_type.removesuffix("_text"), {})
    changes: dict = {"sliding_window": None} if content.get("sliding_window") else {}  # a default of the class
    for name, value in values.items():
        last = name.rpartition(".")[2]
        if last in content and name not in ROPE:
            changes[last] = value
        elif name in ("attention.key_length", "attention.value_length") and names.get(name) is None:
            changes["head_dim"] = value
        elif names.get(name) is None and name not in ROPE and name not in HARMLESS and not name.startswith(SCALING):
            raise ValueError(f"transformers has nothing for {name} = {value!r:.40} of {config.model_type}")
    rope, base = content.get("rope_parameters") or {}, values.get("rope.freq_base", BASE)
    by_layer = any(isinstance(value, dict) for value in rope.values())
    for kind, name in (("full_attention", "rope.freq_base"), ("sliding_attention", "rope.freq_base_swa")):
        known = rope.get(kind, {}).get("rope_theta") if by_layer else base
        if values.get(name, known) != known:
            raise ValueError(f"transformers has nothing for {name} = {values[name]!r:.40} of {config.model_type}")
    if "rope.freq_base" in values and not by_layer:
        content.pop("rope_parameters", None)
        changes |= {"rope_theta": float(base), "rope_scaling": {"rope_type": "default"}}
    return type(config).from_dict(content | changes)


def _check_unscaled(reader, values: dict) -> None:
    """Raises ValueError where a file scales rotary positions."""
    scaled = [n for n, v in values.items() if n.startswith(SCALING) and n not in LENGTHS and v not in UNSCALED]
    scaled += [tensor.name for tensor in reader.tensors if tensor.name in FREQUENCIES]
    if scaled:
        raise ValueError(f"its rotary positions are scaled, which transformers would drop ({', '.join(scaled)})")


def _check_positions(lm, values: dict) -> None:
    """Raises ValueError unless the network turns keys and queries as the file says."""
    dimensions = values.get("rope.dimension_count") or getattr(lm.config, "head_dim", None)
    dimensions = dimensions or lm.config.hidden_size // lm.config.num_attention_heads
    expected = float(values.get("rope.freq_base", BASE)) ** (-torch.arange(0, dimensions, 2) / dimensions)
    for rotary in (module for module in lm.modules() if "inv_freq" in dict(module.named_buffers(recurse=False))):
        found = rotary.inv_freq.float()
        close = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=0)
        if not close or getattr(rotary, "attention_scaling", 1.0) != 1:
            raise ValueError("its rotary positions are not those that transformers computes for it")
