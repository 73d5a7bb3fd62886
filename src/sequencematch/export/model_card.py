"""The README.md of an exported model: what it is, what it was trained on, how well it does, and its limits.

The text is in ``model_card.md.j2``.
"""

import json
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sequencematch.model.policy import Policy
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model

TEMPLATE = "model_card.md.j2"
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
HUB_METRICS = ("accuracy", "bleu", "chrf", "perplexity", "mauve")  # what a hub shows in addition to the card


def card(
    provenance: dict, name: str, policy: Policy, model: Model, form: str, metrics: dict | None, prompt: str
) -> str:
    """The card as Markdown with the front matter that a hub reads.

    provenance: the trained model's, may be empty; name: of the folder; metrics: a metrics.json; prompt: an example.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = _number
    decodings = (metrics or {}).get("decodings", {})
    return environment.get_template(TEMPLATE).render(
        front_matter=_front_matter(name, policy, model, form, metrics or {}),
        name=name,
        method=_method(provenance),
        policy=policy,
        model=model,
        form=form,
        prompt=prompt,
        quoted_prompt=json.dumps(prompt, ensure_ascii=False),
        facts=_facts(policy, model, provenance),
        metrics=metrics,
        measures={key: said for key, said in MEASURES.items() if any(key in row for row in decodings.values())},
    )


def _front_matter(name: str, policy: Policy, model: Model, form: str, metrics: dict) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    scratch, task, eta = model.source == "scratch", metrics.get("task", ""), metrics.get("eta")
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=task or "unnamed",
            dataset_name=(task or "unnamed") + ("" if eta is None else f", trained at eta = {eta}"),
            metric_type=measure,
            metric_name=f"{MEASURES[measure]}, {decoding}",
            metric_value=row[measure],
        )
        for decoding, row in metrics.get("decodings", {}).items()
        for measure in HUB_METRICS
        if isinstance(row.get(measure), int | float) and math.isfinite(row[measure])
    ]
    return ModelCardData(
        library_name="peft" if form == "adapter" else "transformers",
        pipeline_tag="text-generation",
        base_model=None if scratch else model.source,
        license="mit" if scratch else None,
        tags=["sequencematch", *(["custom_generate"] if policy.backspace else [])],
        model_name=name,
        datasets=[task] if task else None,
        eval_results=results or None,
    ).to_yaml()


def _method(provenance: dict) -> str:
    loss = _at(provenance, "stage", "loss")
    return LOSSES[loss].title if loss in LOSSES else str(loss or "an unrecorded method")


def _facts(policy: Policy, model: Model, provenance: dict) -> dict:
    """The table of the card's section on training; what is None is left out."""
    scratch = f"Llama, from scratch, {model.layers} layers of width {model.width}"
    return {
        "network": scratch if model.source == "scratch" else f"`{model.source}`, LoRA rank {model.lora_rank}",
        "parameters": f"{sum(p.numel() for p in policy.lm.parameters()):,}",
        "context": f"{policy.context} tokens",
        "method": _method(provenance),
        "data": f"`{provenance['noised']}`" if "noised" in provenance else None,
        "gradient steps": provenance.get("steps"),
        "batch": _at(provenance, "settings", "optimiser", "batch"),
        "divergence": _at(provenance, "settings", "objective", "divergence") if policy.backspace else None,
        "seed": provenance.get("seed"),
        "code": provenance.get("commit"),
    }


def _at(facts, *keys: str):
    """What a provenance says at a place; None where it says nothing."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts


def _number(value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
