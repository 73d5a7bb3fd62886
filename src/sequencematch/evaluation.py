"""What a trained policy does with the test questions: completions under several decodings, and repair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sequencematch import core
from sequencematch.core import Actions
from sequencematch.examples import Clean
from sequencematch.noise import KINDS, noise_split
from sequencematch.policy import Policy
from sequencematch.rollout import Decoding, Perturbation, sample
from sequencematch.seeding import stable_seed
from sequencematch.settings import Evaluation
from sequencematch.tokenizer import Tokenizer


@dataclass(frozen=True)
class Question:
    """A test question as tokens and its solution as text, with the tokens a disturbance may write in its answer."""

    prompt: list[int]
    completion: list[int]
    solution: str
    disturbances: Sequence[int]


def disturbed_questions(
    splits: Mapping[str, Sequence[Clean]],
    split: str,
    kind: str,
    tokenizer: Tokenizer,
    policy: Path | None,
    stream: Sequence[int | str],
) -> tuple[list[Question], list[Actions]]:
    """A split's questions, and their completions with a wrong token before every true one (eta = 1).

    The wrong tokens are of noise ``kind``; where the kind needs one, ``policy`` is the folder of the
    policy that proposes them.
    """
    examples = splits[split]
    weights = KINDS[kind](tokenizer, splits["train"], policy)
    noised = noise_split(examples, 1.0, 1, weights, tokenizer.bkspc, stream)
    repaired = [Actions(*row) for row in zip(noised["prompt"], noised["actions"], noised["imitated"], strict=True)]
    disturbances = (np.flatnonzero(w.any(0)).tolist() for w in weights(examples))
    return [
        Question(example.prompt, example.completion, example.text, wrong)
        for example, wrong in zip(examples, disturbances, strict=True)
    ], repaired


def decodings(settings: Evaluation, questions: Sequence[Question]) -> dict[str, tuple[Decoding, Perturbation | None]]:
    """The decodings of the tables by name: temperature 1 (as in the paper), greedy, and temperature 1 perturbed."""
    sampled = Decoding(settings.max_actions)
    candidates = [question.disturbances for question in questions]
    return {
        "sampled": (sampled, None),
        "greedy": (Decoding(settings.max_actions, temperature=0), None),
        **{f"perturbed={rate:g}": (sampled, Perturbation(rate, candidates)) for rate in settings.perturbation},
    }


def complete(
    policy: Policy,
    questions: Sequence[Question],
    settings: Evaluation,
    seed: int,
    tokenizer: Tokenizer,
) -> Iterator[dict]:
    """One record per (decoding, question): actions, final text, and what its backspaces removed.

    Question i draws from the same stream under every decoding and for every method, so that differences
    between methods are paired.
    """
    streams = [stable_seed(seed, "evaluation", i) for i in range(len(questions))]
    prompts = [question.prompt for question in questions]
    for name, (decoding, perturbation) in decodings(settings, questions).items():
        rollouts, _ = sample(policy, prompts, decoding, streams, settings.batch, perturbation)
        for i, (question, rollout) in enumerate(zip(questions, rollouts, strict=True)):
            live = core.live_tokens(question.prompt, rollout.actions, policy.bkspc)
            pops, wrong_pops = count_pops(rollout.actions, question.completion, policy.bkspc)
            yield {
                "decoding": name,
                "example": i,
                "actions": rollout.actions,
                "text": tokenizer.decode(live),
                "rendered": tokenizer.render(rollout.actions),
                "solution": question.solution,
                "finished": rollout.finished,
                "pops": pops,
                "wrong_pops": wrong_pops,
            }


def count_pops(actions: Sequence[int], completion: Sequence[int], bkspc: int) -> tuple[int, int]:
    """Backspaces taken, and those of them that removed a wrong token.

    A token is wrong where the live text that ends in it is not a beginning of the reference completion.
    """
    live, pops, wrong_pops = [], 0, 0
    for action in actions:
        if action == bkspc:
            pops += 1
            wrong_pops += live != list(completion[: len(live)])
            live.pop()
        else:
            live.append(action)
    return pops, wrong_pops


@torch.no_grad()
def repair(policy: Policy, repaired: Sequence[Actions], settings: Evaluation) -> dict:
    """P(<bkspc>|s) right after a wrong token (``corrupted``) and right after a true one (``clean``).

    repaired: reference completions with a wrong token and its ``<bkspc>`` before every token (noise at
    eta = 1), whose state tree holds every state asked for: one forward pass a batch. One mean per question;
    ``example_*`` says which, for a question of one token has no clean state (the bare prompt and the state
    after ``<eos>`` do not count). Empty where the policy has no ``<bkspc>``.
    """
    result = {"backspace": policy.backspace, "corrupted": [], "clean": [], "example_corrupted": [], "example_clean": []}
    if not policy.backspace:
        return result
    policy.eval()
    for start in range(0, len(repaired), settings.batch):
        inputs, (batch,) = core.state_tree([(row,) for row in repaired[start : start + settings.batch]], policy.bkspc)
        probability = (
            policy(inputs.to(policy.device)).softmax(-1)[..., policy.bkspc].cpu().gather(1, batch.state[:, :-1])
        )
        after_wrong = batch.taken & (batch.action == policy.bkspc)
        after_true = batch.taken & ~batch.imitated
        after_true[:, 0] = False
        for kind, where in (("corrupted", after_wrong), ("clean", after_true)):
            means = (probability * where).sum(1) / where.sum(1)
            some = where.any(1)
            result[kind] += means[some].tolist()
            result[f"example_{kind}"] += (some.nonzero()[:, 0] + start).tolist()
    return result
