"""How a policy answers wrong tokens in reference completions: P(deletion) after them, and after true tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS, noise_split
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.evaluation.damaged_prompts import with_last_of_prompt
from sequencematch.model.likely_noise import model_noise
from sequencematch.model.policy import Policy
from sequencematch.sampling.decoding import too_many
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES


def repair(
    policy: Policy,
    splits: Mapping[str, Sequence[Example]],
    family: str,
    settings: Evaluation,
    proposer: Path | None,
    seed: int,
    tokenizer: Tokenizer,
) -> dict:
    """The content of repair.json: under ``answers``, the answers to every kind of corruption.

    The completions of the evaluated split are corrupted; of passages, the last token of each prompt is corrupted too,
    as in table 8. A policy without ``<bkspc>`` has no answers. Those of a policy that keeps deletions are not measured:
    it would read an error before every token, which neither training nor sampling shows it. proposer: folder of the
    policy that proposes wrong tokens of the kind 'model'.
    """
    examples = splits[settings.split]
    if not FAMILIES[family].reference:
        examples = [with_last_of_prompt(example) for example in examples]
    found = {}
    for kind in settings.corruptions if policy.backspace and policy.history == "erase" else ():
        weights = model_noise(tokenizer, proposer) if kind == "model" else KINDS[kind](tokenizer, splits["train"])
        noised = noise_split(examples, 1.0, 1, weights, tokenizer.bkspc, (seed, "evaluation", kind))
        columns = zip(noised["prompt"], noised["actions"], noised["imitated"], strict=True)
        corrupted = [Trajectory(prompt=p, actions=a, imitated=i) for p, a, i in columns]
        found[kind] = answers(policy, corrupted, settings.batch)
    return {"backspace": policy.backspace, "corruptions": found}


@torch.no_grad()
def answers(policy: Policy, corrupted: Sequence[Trajectory], batch: int) -> dict:
    """P(deletion|s) right after a wrong token (``corrupted``) and right after a true one (``clean``).

    A deletion is of one token or more. The corrupted completions have a wrong token and its ``<bkspc>`` before every
    token (noise at eta = 1). Their state tree holds every state needed, so one forward pass per batch is enough. There
    is one mean per example. ``example_*`` names the examples, because a completion of one token has no clean state (the
    bare prompt and the state after ``<eos>`` do not count).
    """
    result: dict[str, list] = {"corrupted": [], "clean": [], "example_corrupted": [], "example_clean": []}
    policy.eval()
    for start in range(0, len(corrupted), batch):
        rows = corrupted[start : start + batch]
        inputs, (states,) = core.state_tree([(row,) for row in rows], policy.bkspc)
        inputs = inputs.to(policy.device)
        hidden = policy.encode(inputs)
        after_wrong = states.taken & (states.action >= policy.bkspc)
        after_true = states.taken & ~states.imitated
        after_true[:, 0] = False
        for i, nodes in enumerate(states.state[:, :-1]):  # all logits at once would fill the memory
            logits = policy.logits(hidden[i], inputs.position[i])[nodes]
            live = states.live(policy.bkspc)[i, :-1].to(logits.device)
            logits[:, policy.bkspc :].masked_fill_(too_many(live, policy.deletions), -torch.inf)
            probability = logits.softmax(-1)[:, policy.bkspc :].sum(-1).cpu()
            for side, where in (("corrupted", after_wrong[i]), ("clean", after_true[i])):
                if where.any():
                    result[side].append(probability[where].mean().item())
                    result[f"example_{side}"].append(start + i)
    return result
