"""The README.md of an exported model: what it is, what it was trained on, how well it does, and its limits."""

import json
import math

from sequencematch.model.policy import Policy
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model

# What a row of metrics.json's decodings may hold, as a reader of the card calls it.
MEASURES = {
    "accuracy": "accuracy",
    "bleu": "BLEU",
    "chrf": "chrF",
    "perplexity": "perplexity",
    "mauve": "MAUVE",
    "n": "questions",
    "pops_per_sequence": "tokens deleted per sequence",
    "deletions_per_sequence": "deleting actions per sequence",
    "wrong_pop_share": "deletions that removed a wrong token",
    "cut_off_share": "cut off unfinished",
}


# What a hub shows in addition to the card, by its names for them.
HUB_METRICS = {"accuracy": "accuracy", "bleu": "bleu", "chrf": "chrf", "perplexity": "perplexity", "mauve": "mauve"}


def card(
    provenance: dict, name: str, policy: Policy, model: Model, form: str, metrics: dict | None, prompt: str
) -> str:
    """The card as Markdown with the front matter that a hub reads.

    provenance: content of the trained model's provenance.json, empty where there is none; name: of the exported
    folder; metrics: content of a metrics.json; prompt: one for the example, in the form of training data.
    """
    parts = [
        _front_matter(name, policy, model, form, metrics),
        f"# {name}\n",
        _summary(policy, provenance),
        _usage(name, policy, form, prompt),
        _training(policy, model, provenance),
        _metrics(metrics),
        _limits(policy, model),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(name: str, policy: Policy, model: Model, form: str, metrics: dict | None) -> str:
    from huggingface_hub import ModelCardData

    scratch, task = model.source == "scratch", str(_at(metrics, "task") or "")
    data = ModelCardData(
        library_name="peft" if form == "adapter" else "transformers",
        pipeline_tag="text-generation",
        base_model=None if scratch else model.source,
        license="mit" if scratch else None,
        tags=["sequencematch", *(["custom_generate"] if policy.backspace else [])],
        model_name=name,
        datasets=[task] if task else None,
        eval_results=_eval_results(metrics, task) or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _eval_results(metrics: dict | None, task: str) -> list:
    from huggingface_hub import EvalResult

    measured = [
        (decoding, measure, row[measure])
        for decoding, row in (_at(metrics, "decodings") or {}).items()
        for measure in HUB_METRICS
        if isinstance(row.get(measure), int | float) and math.isfinite(row[measure])
    ]
    eta = _at(metrics, "eta")
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=task or "unnamed",
            dataset_name=(task or "unnamed") + ("" if eta is None else f", trained at eta = {eta}"),
            metric_type=HUB_METRICS[measure],
            metric_name=f"{MEASURES[measure]}, {decoding}",
            metric_value=value,
        )
        for decoding, measure, value in measured
    ]


def _summary(policy: Policy, provenance: dict) -> str:
    method = _method(provenance)
    kind = f"A causal language model trained by {method}"
    if not policy.backspace:
        return f"{kind}. It has no `<bkspc>`, and serves for comparison with SequenceMatch models.\n"
    last = policy.bkspc + policy.deletions - 1
    several = (
        f"The tokens up to `<bkspc_{policy.deletions}>` ({last}) delete several at once. "
        if policy.deletions > 1
        else ""
    )
    return (
        f"{kind}, with one more action than tokens: `<bkspc>` (token {policy.bkspc}) deletes the last token. {several}"
        "See *SequenceMatch: Imitation Learning for Autoregressive Sequence Modelling with Backtracking* "
        "(Cundy & Ermon, arXiv 2306.05426); this is an independent reproduction.\n"
    )


def _method(provenance: dict) -> str:
    loss = _at(provenance, "stage", "loss")
    return LOSSES[loss].title if loss in LOSSES else str(loss or "an unrecorded method")


def _usage(name: str, policy: Policy, form: str, prompt: str) -> str:
    loader = "AutoPeftModelForCausalLM" if form == "adapter" else "AutoModelForCausalLM"
    package = "peft" if form == "adapter" else "transformers"
    lines = [
        "```python",
        f"from {package} import {loader}" + ("" if form == "adapter" else ", AutoTokenizer"),
        *(["from transformers import AutoTokenizer"] if form == "adapter" else []),
        "",
        f'folder = "{name}"  # where this file lies',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"model = {loader}.from_pretrained(folder)",
        f'prompt = tokenizer({json.dumps(prompt, ensure_ascii=False)}, return_tensors="pt")',
        "model.generate(**prompt)" + ("  # ordinary text: <bkspc> is suppressed" if policy.backspace else ""),
    ]
    if policy.backspace:
        named = f", bkspc_token_id={policy.deletion_ids}" if form == "adapter" else ""
        lines += [
            "",
            f"backspacing = dict(custom_generate=folder, trust_remote_code=True{named})",
            "model.generate(**prompt, **backspacing)  # with <bkspc>: runs custom_generate/generate.py",
            "",
            "from transformers.dynamic_module_utils import get_class_from_dynamic_module",
            'Streamer = get_class_from_dynamic_module("custom_generate/generate.BackspaceStreamer", folder)',
            "model.generate(**prompt, **backspacing, streamer=Streamer(tokenizer))  # deletions as they happen",
        ]
    text = "\n".join(["## Use", "", *lines, "```", ""])
    if prompt.endswith(" "):
        text += (
            "\nThe blank at the prompt's end belongs to it, as in training. The tokenizer adds it if it is left out.\n"
        )
    if policy.backspace:
        text += (
            "\nWith `return_dict_in_generate=True` the result also holds the actions taken and their "
            "log-probabilities. `max_new_tokens` counts actions, deletions included; `bkspc_bias` makes them rarer "
            "or more frequent. A model loaded with `trust_remote_code=True` deletes without `custom_generate`. Logits "
            "are the training model's up to one number per state, which leaves log-probabilities as they were: what "
            "computes it lies in `offset.safetensors`.\n"
        )
    return text


def _training(policy: Policy, model: Model, provenance: dict) -> str:
    size = sum(p.numel() for p in policy.lm.parameters())
    network = f"Llama, from scratch, {model.layers} layers of width {model.width}"
    facts = {
        "network": network if model.source == "scratch" else f"`{model.source}`, LoRA rank {model.lora_rank}",
        "parameters": f"{size:,}",
        "context": f"{policy.context} tokens",
        "method": _method(provenance),
        "data": f"`{provenance['noised']}`" if "noised" in provenance else None,
        "gradient steps": provenance.get("steps"),
        "batch": _at(provenance, "settings", "optimiser", "batch"),
        "divergence": _at(provenance, "settings", "objective", "divergence") if policy.backspace else None,
        "seed": provenance.get("seed"),
        "code": provenance.get("commit"),
    }
    rows = [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
    return "\n".join(["## Training", "", "| | |", "|---|---|", *rows, ""])


def _metrics(metrics: dict | None) -> str:
    if not metrics:
        return "## Metrics\n\nNone were given when this folder was made.\n"
    decodings = metrics.get("decodings", {})
    shown = [name for name in MEASURES if any(name in row for row in decodings.values())]
    head = " | ".join(["decoding", *(MEASURES[name] for name in shown)])
    lines = [f"| {head} |", "|" + "---|" * (len(shown) + 1)]
    for decoding, row in decodings.items():
        lines.append(f"| {decoding} | " + " | ".join(_number(row.get(name)) for name in shown) + " |")
    task = f"Task `{metrics['task']}`, eta {metrics.get('eta')}.\n" if "task" in metrics else ""
    for kind, rates in (metrics.get("repair") or {}).items():
        lines += [
            "",
            f"Probability of `<bkspc>` right after a wrong token ({kind}): {_number(rates['repair_rate'])}; "
            f"after a right one: {_number(rates['false_alarm_rate'])}.",
        ]
    return "\n".join(["## Metrics", "", task, *lines, ""])


def _at(facts, *keys: str):
    """What a provenance says at a place; None where it says nothing."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts


def _number(value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)


def _limits(policy: Policy, model: Model) -> str:
    lines = [
        "It was trained on one narrow task (see the data above): outside of its templates it says nothing of use.",
        "Its answers are often wrong; the metrics say how often. Use it to study the method, not to compute.",
    ]
    if model.source == "scratch":
        lines.append("Its tokenizer knows the characters of its training data alone; any other is an error.")
    if policy.backspace:
        lines += [
            "The state has no memory of a deletion, so greedy decoding can delete and write the same token for ever; "
            "`max_new_tokens` ends it, and a negative `bkspc_bias` avoids most of it.",
            "The end of a sequence cannot be deleted.",
        ]
    return "\n".join(["## Limits", "", *(f"- {line}" for line in lines), ""])
