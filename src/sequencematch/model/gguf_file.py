"""Model folders of transformers from GGUF files, the form in which llama.cpp's quantised models are handed on.

transformers reads the weights, and only some of the other values: it drops the scaling of rotary positions (10 nats off
after a few tokens), windows, and whatever it has no name for. Here every value is used, or the file is refused.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from sequencematch.errors import UserError
from sequencematch.model.gguf_tokenizer import fit
from sequencematch.store.files import check_regular
from sequencematch.store.hub import cannot_load, check_loaded
from sequencematch.store.untrusted_config import check_memory, check_sizes

# Keys that say nothing about what the network computes.
APART = ("GGUF.", "general.", "tokenizer.", "quantize.", "split.")
HARMLESS = ("vocab_size", "tensor_data_layout")  # the first is the number of rows
SCALING = "rope.scaling."
ROPE = {"rope.dimension_count", "rope.freq_base", "rope.freq_base_swa", "rope.scale_linear"}
ROPE |= {SCALING + name for name in ("type", "factor", "original_context_length", "attn_factor", "finetuned")}
ROPE |= {SCALING + f"yarn_{name}" for name in ("ext_factor", "attn_factor", "beta_fast", "beta_slow")}
BASE = 10_000.0  # of rotary positions, where a file names none
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
        values, factors = _values(reader), _factors(reader)
        config = _completed(config, values, factors)
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
        _check_positions(lm, values, factors)
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
    there = sum(int(tensor.n_elements) for tensor in reader.tensors if tensor.name not in FREQUENCIES)
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
    return values


def _factors(reader) -> dict[str, Tensor]:
    """By what the frequencies of rotary positions are divided, float32 [d / 2] by the name of the tensor."""
    found = {tensor.name: tensor for tensor in reader.tensors if tensor.name in FREQUENCIES}
    if found.keys() not in (set(), {FREQUENCIES[0]}, {*FREQUENCIES[1:]}):
        raise ValueError(f"{', '.join(found)} do not belong together")
    return {name: torch.from_numpy(found[name].data.copy()).float() for name in FREQUENCIES if name in found}


def _completed(config, values: dict, factors: dict[str, Tensor]):
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
        elif names.get(name) is None and name not in ROPE and name not in HARMLESS:
            raise ValueError(f"transformers has nothing for {name} = {value!r:.40} of {config.model_type}")
    rope = _rope(values, factors, content.get("max_position_embeddings"))
    by_layer = any(isinstance(value, dict) for value in (content.get("rope_parameters") or {}).values())
    for kind, name in (("full_attention", "rope.freq_base"), ("sliding_attention", "rope.freq_base_swa")):
        base = values.get("rope.freq_base", BASE)
        if by_layer:
            base = content["rope_parameters"].get(kind, {}).get("rope_theta")
        if values.get(name, base) != base:
            raise ValueError(f"transformers has nothing for {name} = {values[name]!r:.40} of {config.model_type}")
    if by_layer and rope.get("rope_type", "default") != "default":
        raise ValueError(f"the scaled positions of {config.model_type} are not read")
    if rope and not by_layer:
        content.pop("rope_parameters", None)
        changes |= {"rope_theta": float(values.get("rope.freq_base", BASE)), "rope_scaling": rope}
        original = "original_max_position_embeddings"
        changes |= {original: rope[original]} if original in content and original in rope else {}
    return type(config).from_dict(content | changes)


def _rope(values: dict, factors: dict[str, Tensor], context: int | None) -> dict:
    """The scaling of rotary positions as transformers states it. Empty where the file names no rotary positions."""
    said = _scaling(values, factors)
    original = said.get("original_context_length", context)
    if said["type"] == "linear":
        return {"rope_type": "linear", "factor": said["factor"]}
    if said["type"] == "yarn":
        betas = {f"beta_{end}": said[f"yarn_beta_{end}"] for end in ("fast", "slow")}
        shape = {"factor": said["factor"], "original_max_position_embeddings": original, **betas}
        return {"rope_type": "yarn", **shape, "attention_factor": _attention_factor(said)}
    if not factors:
        return {"rope_type": "default"} if "rope.freq_base" in values else {}
    short = next(iter(factors.values()))
    base = float(values.get("rope.freq_base", BASE))
    for length in (original, 8192):
        llama_3 = {"rope_type": "llama3", "factor": float(short.max()), "original_max_position_embeddings": length}
        if len(factors) == 1 and torch.allclose(short, _llama_3_factors(len(short), base, llama_3), rtol=1e-4):
            return llama_3 | {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    listed: dict = {"short_factor": short.tolist(), "long_factor": factors.get(FREQUENCIES[2], short).tolist()}
    listed |= {"attention_factor": _attention_factor(said), "original_max_position_embeddings": original}
    return {"rope_type": "longrope", **listed}


def _llama_3_factors(number: int, base: float, rope: dict) -> Tensor:
    """What Llama 3.1 divides frequencies by: 1 in waves of up to a quarter of the context, ``factor`` in long ones."""
    waves = rope["original_max_position_embeddings"] * base ** (-torch.arange(number) / number) / (2 * math.pi)
    short = ((waves - 1) / 3).clamp(0, 1)
    return 1 / ((1 - short) / rope["factor"] + short)


def _scaling(values: dict, factors: Iterable[str] = ()) -> dict:
    """What the file says of the scaling, with llama.cpp's defaults. ValueError at what neither form here computes.

    A factor without a type is linear, the older key counts where there is no newer one, and "none" scales nothing.
    """
    said: dict = {"type": "linear", "yarn_beta_fast": 32.0, "yarn_beta_slow": 1.0}
    said |= {name.removeprefix(SCALING): value for name, value in values.items() if name.startswith(SCALING)}
    factor, kind = said.get("factor", values.get("rope.scale_linear", 1.0)) or 1.0, said["type"]
    if kind == "none" or (kind == "linear" and factor == 1):
        factor, kind = 1.0, "none"
    mixed = said.get("yarn_ext_factor", -1.0)
    known = kind in ("none", "linear", "yarn", "longrope") and factor > 0
    if not known or (kind == "longrope" and factor != 1) or not (mixed < 0 or mixed == (kind == "yarn")):
        raise ValueError(f"positions scaled by {kind!r:.40} and {factor!r:.40} are not known")
    if kind in ("linear", "yarn") and any(factors):
        raise ValueError(f"{', '.join(factors)} beside positions that are scaled by {kind} are not read")
    return said | {"type": kind, "factor": factor}


def _attention_factor(said: dict) -> float:
    """By what queries times keys are scaled, as llama.cpp has it: once for each of them."""
    more = 1 + 0.1 * math.log(said["factor"]) if said["type"] == "yarn" and said["factor"] > 1 else 1.0
    return more * said.get("attn_factor", 1.0) * said.get("yarn_attn_factor", 1.0)


def _frequencies(values: dict, factors: dict[str, Tensor], dimensions: int) -> Tensor:
    """The angles between neighbouring positions as llama.cpp computes them from the file, float32 [d / 2]."""
    said, base = _scaling(values), float(values.get("rope.freq_base", BASE))
    plain = base ** (-torch.arange(0, dimensions, 2) / dimensions)
    if said["type"] == "linear":
        return plain / said["factor"]
    if said["type"] != "yarn":
        return plain / next(iter(factors.values()), torch.tensor(1.0))
    length = said.get("original_context_length", values.get("context_length"))
    ends = [math.log(length / (2 * math.pi * said[f"yarn_beta_{end}"])) for end in ("fast", "slow")]
    first, last = (dimensions * end / (2 * math.log(base)) for end in ends)
    first, last = max(0, math.floor(first)), min(dimensions - 1, math.ceil(last))
    slow = ((torch.arange(dimensions // 2) - first) / max(0.001, last - first)).clamp(0, 1)
    return plain * (slow / said["factor"] + 1 - slow)


def _check_positions(lm, values: dict, factors: dict[str, Tensor]) -> None:
    """Raises ValueError unless the network turns keys and queries as the file says, by what length they may have."""
    said = _scaling(values)
    rotaries = [module for module in lm.modules() if "inv_freq" in dict(module.named_buffers(recurse=False))]
    dimensions = values.get("rope.dimension_count") or getattr(lm.config, "head_dim", None)
    dimensions = dimensions or lm.config.hidden_size // lm.config.num_attention_heads
    expected = _frequencies(values, factors, dimensions)
    for rotary in rotaries:
        found = rotary.inv_freq.float()
        scale = float(getattr(rotary, "attention_scaling", 1.0))
        close = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=0)
        if not close or not math.isclose(scale, _attention_factor(said), rel_tol=1e-4):
            raise ValueError("its rotary positions are not those that transformers computes for it")
    if not rotaries and (factors or said["type"] != "none"):
        raise ValueError("its rotary positions are scaled in a way that transformers does not know")
