"""Policies: made (a small Llama from scratch, or a pretrained network, with or without LoRA), saved and loaded."""

import copy
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from transformers import PretrainedConfig  # its name in transformers 4 and 5

from sequencematch.errors import UserError
from sequencematch.model.attention import use_state_tree
from sequencematch.model.description import check_memory, misfit, read_description, read_tensors
from sequencematch.model.network_files import check_same, network_files, stated
from sequencematch.model.policy import Ids, Policy, id_set, trained_tensors
from sequencematch.settings.model import Model
from sequencematch.store import untrusted_config
from sequencematch.store.hub import cannot_load, check_loaded, check_source

# On import bitsandbytes, which peft imports whatever the weights, warns that an optional package is not there.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

RANDOM = ("drop", "jitter", "noise")  # parts of the names of numbers by which a network draws at random


def new_policy(model: Model, vocabulary: int, special_ids: Mapping[str, Ids], backspace: bool, seed: int) -> Policy:
    """A new policy: a small Llama with weights drawn from ``seed``, or a causal LM by its hub name or path.

    special_ids: the tokenizer's ``bos``, ``eos`` and ``pad``. In a pretrained network, the tokens that end a sequence
    are those of its own configuration and ``eos``. Raises UserError if the named model cannot be loaded, is of a kind
    that the method cannot train, or does not fit the special tokens.
    """
    torch.manual_seed(seed)
    if model.source == "scratch":
        check_memory(model, vocabulary)
        return Policy(_scratch_lm(model, vocabulary, special_ids), backspace, model.deletions)
    check_source("model", model.source)
    origin = network_files(model.source)
    lm = _adapted(_pretrained_lm(model), model)
    policy = policy_of(lm, model.source, special_ids.get("eos"), backspace, model.deletions)
    policy.origin = origin
    return policy


def policy_of(lm, source: str, eos: Ids, backspace: bool, deletions: int = 1) -> Policy:
    """A policy around a causal LM of transformers, or a LoRA model of peft, that is called ``source`` in messages.

    eos: a token that ends a sequence, beside those that the network names. The network no longer draws random numbers
    in training. Raises UserError if it is of a kind that the method cannot train, or does not fit ``eos`` or the number
    of ``deletions``.
    """
    from sequencematch.model.fitness import check_fitness

    if hasattr(lm, "peft_config") and hasattr(lm, "get_base_model"):
        _check_adapters(lm.peft_config.values(), lm.get_base_model())
        lm = lm.get_base_model()
    for number in ("vocab_size", "hidden_size", "max_position_embeddings"):
        if not isinstance(getattr(lm.config, number, None), int):
            raise UserError(
                f"'{source}' is no causal language model of text alone ({lm.config.model_type}): it has no {number}; "
                "choose a text-only model"
            )
    _without_chance(lm)
    use_state_tree(lm)
    lm.config.eos_token_id = end_tokens(lm, eos, source)
    policy = Policy(lm, backspace, deletions)
    check_deletions(policy, deletions, f"'{source}'")
    check_fitness(policy, source)  # while the offset head adds nothing
    if policy.has_learned and (file := Path(lm.name_or_path) / "offset.safetensors").is_file():
        policy.offset.load_state_dict(load_file(file))
    return policy


def check_deletions(policy: Policy, deletions: int, source: str) -> None:
    """Raises UserError where a policy deletes more or fewer tokens at once than are asked for."""
    if policy.deletions != deletions:
        raise UserError(
            f"{source} has learned to delete up to {policy.deletions} tokens at once, and model.deletions is "
            f"{deletions}: set it to {policy.deletions}"
        )


def end_tokens(lm, eos: Ids, source: str) -> int | list[int] | None:
    """The ids that end a sequence: those that the network ``source`` names, and ``eos``, in which training data end.

    The network's configuration and its generation configuration may name none, one or several. Raises UserError if they
    name some without ``eos``, or if an id has no row in the network.
    """
    given, rows = id_set(eos), len(lm.get_output_embeddings().weight)
    for name in ("bos_token_id", "pad_token_id"):
        if getattr(lm.config, name, None) == -1:  # as the first Llama had it: none
            setattr(lm.config, name, None)
        _named_ids(getattr(lm.config, name, None), name, rows, source)
    generation = getattr(lm.generation_config, "eos_token_id", None) if lm.can_generate() else None
    named = _named_ids(lm.config.eos_token_id, "eos_token_id", rows, source)
    named |= _named_ids(generation, "eos_token_id", rows, source)
    _named_ids(given, "eos_token", rows, source)
    ends = sorted(named | given)
    if named and given and not named & given:
        raise UserError(
            f"the network of '{source}' ends sequences by token {', '.join(map(str, sorted(named)))}, and its "
            f"tokenizer by {', '.join(map(str, sorted(given)))}: make eos_token_id in its config.json and eos_token in "
            "its tokenizer_config.json agree"
        )
    return ends[0] if len(ends) == 1 else ends or None


def _named_ids(value, name: str, rows: int, source: str) -> set[int]:
    """The ids that a configuration names. Raises UserError for one that is no token of a network of ``rows`` tokens."""
    ids = value if isinstance(value, list | set) else [] if value is None or value == {} else [value]
    for token in ids:
        if type(token) is not int or not 0 <= token < rows:
            raise UserError(
                f"the {'end token' if name.startswith('eos') else name} {token!r:.40} of '{source}' is none of its "
                f"network's {rows} tokens: correct {name} in its configurations"
            )
    return set(ids)


def _scratch_lm(model: Model, vocabulary: int, special_ids: Mapping[str, Ids]):
    from transformers.models.llama import LlamaConfig, LlamaForCausalLM

    inner = model.width * 8 // 3
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=model.width,
        # In whole blocks where it is wide, as Llama has it (11,008 at 4,096).
        intermediate_size=inner if model.width < 1024 else -(-inner // 256) * 256,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        max_position_embeddings=model.context,
        initializer_range=model.initial_spread,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        bos_token_id=special_ids["bos"],
        eos_token_id=special_ids["eos"],
        pad_token_id=special_ids["pad"],
        attn_implementation="sdpa",
    )
    # Weights stay float32 whatever the precision: bfloat16 ones would lose small updates.
    lm = _random_in_four_bits(config, model) if model.quantise == "nf4" else LlamaForCausalLM(config)
    return _adapted(lm, model)


def _random_in_four_bits(config, model: Model):
    """A Llama of random weights in 4 bits, made layer by layer: at most one of them is in full precision at a time."""
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaForCausalLM

    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", getattr(torch, model.precision)
    layers, config.num_hidden_layers = config.num_hidden_layers, 0
    lm = LlamaForCausalLM(config).to(device, dtype)
    config.num_hidden_layers = layers
    for index in range(layers):
        with torch.device(device):
            layer = LlamaDecoderLayer(config, index).to(dtype)
        for block in (layer.self_attn, layer.mlp):
            for name, linear in [(n, module) for n, module in block.named_children() if isinstance(module, nn.Linear)]:
                quantised = Linear4bit(
                    linear.in_features, linear.out_features, bias=False, compute_dtype=dtype, quant_type="nf4"
                )
                weight = nn.init.normal_(linear.weight.detach(), std=config.initializer_range)
                quantised.weight = Params4bit(weight, requires_grad=False, quant_type="nf4")
                setattr(block, name, quantised.to(device))  # quantised by the move
        lm.model.layers.append(layer)
    return lm


def _pretrained_lm(model: Model):
    from transformers import AutoModelForCausalLM

    if Path(model.source).is_dir():
        untrusted_config.check_memory(Path(model.source), untrusted_config.check_config(Path(model.source)))
    options = {
        "revision": model.revision,
        "trust_remote_code": model.trust_remote_code,
        "dtype": getattr(torch, model.precision),
        "attn_implementation": "sdpa",
    }
    if model.quantise == "nf4":
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=options["dtype"]
        )
    try:
        lm, loaded = AutoModelForCausalLM.from_pretrained(
            model.source, ignore_mismatched_sizes=True, output_loading_info=True, **options
        )
    except MemoryError:
        raise
    except Exception as error:  # of whatever the folder's files make the library do
        raise cannot_load("model", model.source, error) from error
    check_loaded(loaded, model.source)
    if getattr(lm.config, "quantization_config", None) and not getattr(lm, "hf_quantizer", None):
        raise UserError(f"'{model.source}' is quantised in a way that transformers does not know: choose another model")
    return lm


def _adapted(lm, model: Model):
    """The network with our attention, and what ``model`` adds to it: LoRA adapters, gradient checkpointing."""
    use_state_tree(lm)
    if model.lora_rank:
        from peft import LoraConfig

        sizes = {"r": model.lora_rank, "lora_alpha": model.lora_alpha}
        adapt(lm, LoraConfig(**sizes, target_modules="all-linear", task_type="CAUSAL_LM"))
    if model.gradient_checkpointing:
        lm.activation_checkpointing_enable({"use_reentrant": False})
    return lm


def _without_chance(lm) -> None:
    """Set every rate of dropout, noise and jitter to 0, in modules and in the configurations that they read.

    They would draw from a random stream without a seed, which a resumed run could not continue.
    """
    waiting: list = [lm.config, *lm.modules()]
    seen: set[int] = set()
    while waiting:
        holder = waiting.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        if isinstance(holder, _DropoutNd):
            holder.p = 0.0
        for name, value in list(vars(holder).items()):
            if isinstance(value, float) and any(part in name.lower() for part in RANDOM):
                setattr(holder, name, 0.0)
            elif isinstance(value, PretrainedConfig):
                waiting.append(value)


def adapt(lm, config) -> None:
    """Freeze the network and put LoRA adapters into it (QLoRA). Raises UserError where these cannot be trained."""
    from peft import inject_adapter_in_model

    if hasattr(lm, "peft_config"):
        raise UserError("the model has adapters already: leave out peft_config, or merge them (merge_and_unload)")
    for module in lm.modules():
        # On CPUs with AVX512-BF16 a forward pass without gradients repacks the 4-bit weights, after which
        # the adapters' gradients are silently wrong; rollouts between training steps do just that.
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False
    lm.requires_grad_(False)
    inject_adapter_in_model(copy.deepcopy(config), lm)
    _check_adapters([config], lm)
    _without_chance(lm)
    for parameter in lm.parameters():
        if parameter.requires_grad:  # in the network's bfloat16, small updates would be lost
            parameter.data = parameter.data.float()


def _check_adapters(configs: Iterable, lm) -> None:
    """Raises UserError where adapters are not merged into one network by adding products of matrices (LoRA)."""
    for config in configs:
        settings = config.to_dict()
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        other = [n for n in ("use_dora", "modules_to_save", "trainable_token_indices", "lora_bias") if settings.get(n)]
        if kind != "LORA" or other:
            what = ", ".join(other) or f"peft_type {kind}"
            raise UserError(f"adapters of peft with {what} cannot be trained here: choose LoRA without it")
    if any(hasattr(m, "base_layer") for m in (lm.get_input_embeddings(), lm.get_output_embeddings())):
        raise UserError(
            "adapters on the embedding or unembedding cannot be trained here: take them out of target_modules"
        )


def on_accelerator(policy: Policy) -> Policy:
    """The policy, on a GPU if there is one."""
    return policy.to("cuda") if torch.cuda.is_available() else policy


def save_policy(policy: Policy, model: Model, folder: Path) -> None:
    """Write ``policy.json``, ``lm.safetensors`` and ``actions.safetensors`` (row, offset head) to a folder."""
    tensors = trained_tensors(policy)
    lm = {name: t for name, t in tensors.items() if name.startswith("lm.")}
    save_file(lm, folder / "lm.safetensors")
    save_file({name: t for name, t in tensors.items() if name not in lm}, folder / "actions.safetensors")
    config = policy.lm.config
    description = {
        **stated(model, config, policy.context),
        "vocabulary": policy.bkspc,
        "special_ids": {"bos": config.bos_token_id, "eos": config.eos_token_id, "pad": config.pad_token_id},
        "backspace": policy.backspace,
        **({} if policy.history == "erase" else {"history": policy.history}),
        **({} if policy.head is None else {"head": True}),
        **({} if model.source == "scratch" else {"files": policy.origin}),
    }
    (folder / "policy.json").write_text(json.dumps(description, indent=2) + "\n")


def load_policy(folder: Path, backspace: bool | None = None) -> tuple[Policy, Model]:
    """The policy in ``folder``, with ``<bkspc>`` or without (None: as saved). Raises UserError where it is damaged."""
    folder = Path(folder)
    description = read_description(folder)
    tensors, model, saved = read_tensors(folder, description), description.model, description.backspace
    special_ids = description.special_ids.model_dump()
    policy = new_policy(model, description.vocabulary, special_ids, saved if backspace is None else backspace, seed=0)
    if description.history != "erase":
        policy.keep(description.history)
    if description.head:
        policy.add_head()
    check_same(policy.origin, description.files, model, folder)
    try:
        missing, unexpected = policy.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # a tensor of another shape
        raise misfit(folder) from error
    expected = set(trained_tensors(policy))
    if unexpected or expected & set(missing):
        raise misfit(folder)
    return policy, model
