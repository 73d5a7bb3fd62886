"""A trained model as a folder that transformers loads, for people who have never heard of this package.

The rows of deletions are folded into the unembedding as further tokens, so logits and log-probabilities are those of
the training model, with one exception: the offset head is left out of the network. It adds one number to all
logits of a state, so log pi(a|s) does not depend on it; its tensors are in a file of their own
(``offset.safetensors``), for users who want the value V(s) = logsumexp_a l(a|s) as it was trained.
"""

import copy
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import tokenizers
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sequencematch.data.tokenizer import BKSPC, Tokenizer, deletion_name, load_tokenizer
from sequencematch.errors import UserError
from sequencematch.export import custom_generate, model_card
from sequencematch.export.prompts import complete_prompts, real_prompt
from sequencematch.model.build import load_policy
from sequencematch.model.policy import Policy
from sequencematch.sampling.lookahead import WEIGHT
from sequencematch.sampling.rollout import eos_ids
from sequencematch.settings.model import Model
from sequencematch.store.files import atomic_folder, check_place, read_json, write_json
from sequencematch.store.provenance_schema import FILE, read_facts

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def export_model(checkpoint: Path, output: Path, form: str = "merged", metrics: Path | None = None) -> None:
    """Write the trained model folder ``checkpoint`` as a folder for transformers, atomically, to ``output``.

    form: ``merged`` (the whole network) or ``adapter`` (LoRA adapters and the row of ``<bkspc>`` alone, for peft);
    metrics: a metrics.json of the model, for its card. A model without ``<bkspc>`` is written without it.
    Raises UserError where the folder holds no model, or one that does not come in this form, where the metrics are of
    another model, and where anything is in the place of ``output``.
    """
    checkpoint, target = Path(checkpoint), Path(os.path.abspath(output))
    check_place(output)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"'{output}' is there: delete it, or choose another folder")
    policy, model = load_policy(checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.check_belongs(policy.bkspc, checkpoint, checkpoint)
    if policy.history != "erase":
        raise UserError(
            f"the model in '{checkpoint}' reads deleted tokens (loss {policy.history}), which no export can: use "
            "sequencematch sample"
        )
    if form == "adapter" and not model.lora_rank:
        raise UserError(f"the model in '{checkpoint}' was trained without adapters: export it with --form merged")
    trained = read_facts(checkpoint, "get the model again") if (checkpoint / FILE).exists() else {}
    measured = None
    if metrics:
        from sequencematch.results.runs import check_metrics_of, read_metrics  # not in the wheel

        measured = read_metrics(metrics)
        check_metrics_of(measured, metrics, checkpoint, trained)
    prompt = real_prompt(trained, tokenizer)
    card = model_card.card(trained, target.name, policy, model, form, measured, prompt)
    with atomic_folder(target) as folder:
        write_network(policy, tokenizer, folder, None if form == "merged" else model)
        _save_tokenizer(tokenizer, policy, folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
        # safetensors writes files that only the owner can read: permissions by the umask, as the folder has them.
        for file in folder.rglob("*"):
            if file.is_file():
                file.chmod(folder.stat().st_mode & 0o666)


def write_network(policy: Policy, tokenizer: Tokenizer, folder: Path, adapter: Model | None = None) -> None:
    """Write a policy to an existing folder, in the form that transformers loads: network and sampler, no tokenizer.

    adapter: the settings of a model of which only the adapters are to be written; default: the whole network.
    """
    if adapter is None:
        merged(policy).save_pretrained(folder)
    else:
        _save_adapter(policy, adapter, folder)
    _generation_config(policy, tokenizer).save_pretrained(folder)
    if policy.backspace:
        save_file(_state(policy.offset), folder / "offset.safetensors")
    if policy.head is not None:
        save_file(_state(policy.head), folder / custom_generate.HEAD)
    if policy.backspace or policy.head is not None:
        (folder / "custom_generate").mkdir(exist_ok=True)
        shutil.copyfile(custom_generate.__file__, folder / "custom_generate" / "generate.py")


def one_or_all(ids: list[int]) -> int | list[int]:
    """Token ids as configurations have them: one alone is no list."""
    return ids if len(ids) > 1 else ids[0]


def merged(policy: Policy) -> "PreTrainedModel":
    """The policy as an ordinary causal LM of transformers, adapters merged into its weights.

    Where the policy has ``<bkspc>``, the rows of deletions are the last of the unembedding, in the network's precision.
    A deletion is never an input: its embedding is zero (or, where embeddings are tied, the row).
    """
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(policy.lm.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    state = _merged_state(policy.lm)
    if policy.backspace:
        config.vocab_size = policy.bkspc + policy.deletions
        config.bkspc_token_id = one_or_all(policy.deletion_ids)
        _append_rows(policy, state)
    lm = AutoModelForCausalLM.from_config(config, dtype=policy.lm.dtype)
    lm.load_state_dict(state)
    return lm.eval()


def _merged_state(lm: nn.Module) -> dict[str, Tensor]:
    """The state dict that the network would have without adapters and without quantisation."""
    state = {
        name.replace(".base_layer", ""): tensor.detach()
        for name, tensor in lm.state_dict().items()
        if ".lora_" not in name and ".weight." not in name  # "weight.absmax" and the like describe 4-bit weights
    }
    for name, module in lm.named_modules():
        if hasattr(module, "get_delta_weight"):
            from peft.utils.integrations import dequantize_module_weight

            parameter = getattr(module, "parameter_name", "weight")  # of experts, which share one tensor
            base, place = module.get_base_layer(), f"{name.replace('.base_layer', '')}.{parameter}"
            weight = dequantize_module_weight(base).detach().to(lm.dtype) if parameter == "weight" else state[place]
            active = [name for name in module.active_adapters if name not in module.merged_adapters]
            for adapter in active:
                weight = weight + module.get_delta_weight(adapter).detach().to(weight.dtype)
            state[place] = weight
    return state


def _append_rows(policy: Policy, state: dict[str, Tensor]) -> None:
    """A further row for each deletion in the matrices of the vocabulary."""
    lm = policy.lm
    embedding, unembedding = lm.get_input_embeddings(), lm.get_output_embeddings()
    rows = policy.bkspc_row.detach().view(policy.deletions, -1)
    names = {id(module): name for name, module in lm.named_modules()}
    tied = embedding.weight is unembedding.weight
    for module, new in ((embedding, rows if tied else torch.zeros_like(rows)), (unembedding, rows)):
        weight = state[f"{names[id(module)]}.weight"]
        state[f"{names[id(module)]}.weight"] = torch.cat([weight, new.to(weight)])
    bias = f"{names[id(unembedding)]}.bias"
    if bias in state:
        state[bias] = nn.functional.pad(state[bias], (0, len(rows)))


def _save_adapter(policy: Policy, model: Model, folder: Path) -> None:
    """adapter_config.json and adapter_model.safetensors, as peft reads them."""
    from peft import get_peft_model_state_dict

    lm, prefix = policy.lm, "base_model.model."
    adapters = get_peft_model_state_dict(lm, adapter_name="default", save_embedding_layers=False)
    tensors = {prefix + name: tensor.detach().contiguous() for name, tensor in adapters.items()}
    tied = lm.get_input_embeddings().weight is lm.get_output_embeddings().weight
    head = lm.get_input_embeddings() if tied else lm.get_output_embeddings()
    name = next(name for name, module in lm.named_modules() if module is head)
    rows = policy.bkspc_row.detach().view(policy.deletions, -1).to(lm.dtype)
    tensors[f"{prefix}{name}.token_adapter.trainable_tokens_delta"] = rows.contiguous()
    config = copy.deepcopy(lm.peft_config["default"])  # what was injected: experts are parameters, no modules
    config.base_model_name_or_path, config.inference_mode = model.source, True
    config.trainable_token_indices = {name.rsplit(".", 1)[-1]: policy.deletion_ids}
    config.save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _generation_config(policy: Policy, tokenizer: Tokenizer):
    """Sampling as in training: temperature 1, the whole distribution, the same tokens that end a sequence.

    A model with a deletion head is decoded greedily, with lookahead, which alone reads the head. The ordinary loop of
    ``generate`` cannot delete a token, so it suppresses deletions. Our loop reads ``bkspc_token_id``.
    """
    from transformers import GenerationConfig

    eos = sorted(eos_ids(policy) | {tokenizer.special_ids["eos"]})  # type: ignore[type-var]
    drawn = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
    config = GenerationConfig(
        **(drawn if policy.head is None else {"do_sample": False, "lookahead": WEIGHT}),
        max_length=policy.context,
        bos_token_id=tokenizer.special_ids["bos"],
        eos_token_id=one_or_all(eos),
        pad_token_id=tokenizer.special_ids["pad"],
    )
    if policy.backspace:
        config.suppress_tokens = policy.deletion_ids
        config.bkspc_token_id = one_or_all(policy.deletion_ids)
    return config


def _save_tokenizer(tokenizer: Tokenizer, policy: Policy, folder: Path) -> None:
    """Save the tokenizer: deletions as its last tokens, ``<bos>`` before every text, prompts in training's form."""
    tokenizer.save(folder)
    fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = read_json(folder / "tokenizer_config.json")
    config.pop("bkspc_id")
    if policy.backspace:
        # Some networks have more rows than their tokenizer has tokens.
        unused = [f"<unused_{k}>" for k in range(fast.get_vocab_size(), policy.bkspc)]
        names = [deletion_name(k) for k in range(1, policy.deletions + 1)]
        fast.add_special_tokens([*unused, *names])
        config["additional_special_tokens"] = names
        if [fast.token_to_id(name) for name in names] != policy.deletion_ids:
            raise UserError(f"the tokenizer's vocabulary has a token named {BKSPC}, or gaps: it cannot be exported")
    bos = config["bos_token"]
    fast.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, fast.token_to_id(bos))]
    )
    complete_prompts(fast)
    fast.save(str(folder / "tokenizer.json"))
    # The names of special tokens inside a text are plain text, as in training: <bkspc> is never an input.
    config |= {"split_special_tokens": True, "padding_side": "left", "model_max_length": policy.context}
    config["model_input_names"] = ["input_ids", "attention_mask"]
    write_json(folder / "tokenizer_config.json", config)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
