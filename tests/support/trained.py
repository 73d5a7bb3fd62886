"""Model folders as training leaves them, made without training."""

import json
from pathlib import Path

import torch

from sequencematch.data.tokenizer import Tokenizer, train_tokenizer
from sequencematch.model.build import new_policy, save_policy
from sequencematch.model.policy import Policy
from sequencematch.settings.model import Model

TEXTS = ["What is 25 + 3? Solution: 28", "Calculate 9 * 41. Solution: 369", "What is -7 * 60? Solution: -420"]
PROMPTS = ["What is 25 + 3? Solution: ", "Calculate 9 * 4. Solution: ", "7"]
SHAPE = Model(layers=2, width=32, heads=2, context=64)


def trained_folder(
    folder: Path,
    model: Model = SHAPE,
    backspace: bool = True,
    tokenizer: Tokenizer | None = None,
    history: str = "erase",
) -> tuple[Policy, Tokenizer]:
    """Write a model folder whose policy deletes often; returns what it holds."""
    tokenizer = tokenizer or train_tokenizer(TEXTS)
    policy = new_policy(model, tokenizer.size, tokenizer.special_ids, backspace, seed=0).eval()
    if history != "erase":
        policy.keep(history)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad and (parameter.dim() > 1 or parameter is policy.bkspc_row):
                parameter.normal_(0, 0.3)
    folder.mkdir(parents=True, exist_ok=True)
    save_policy(policy, model, folder)
    tokenizer.save(folder)
    facts = {"stage": {"loss": "sm" if backspace else "mle"}, "noised": "results/mul/noised", "steps": 30, "seed": 1}
    (folder / "provenance.json").write_text(json.dumps(facts))
    return policy, tokenizer
