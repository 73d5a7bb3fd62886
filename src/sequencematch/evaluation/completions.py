"""What a trained policy does with the examples of a split: completions under several decodings, what it makes of
wrong tokens in reference completions, and how it goes on after prompts whose last token was replaced (table 8)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS, digit_ids, draw_wrong, noise_split, random_noise
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.evaluation.procedures import Procedure, parse_decoding
from sequencematch.model.likely_noise import model_noise
from sequencematch.model.policy import Policy
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import Perturbation, Rollout, sample
from sequencematch.scores.deletions import pieces, removals
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.decodings import concerns_backspace
from sequencematch.settings.evaluation import Evaluation

# --------------------------------------------------------------------------------------------------
# Completions
# --------------------------------------------------------------------------------------------------


def complete(
    policy: Policy,
    examples: Sequence[Example],
    family: str,
    kind: str,
    settings: Evaluation,
    seed: int,
    tokenizer: Tokenizer,
) -> Iterator[dict]:
    """One record per (decoding, example): actions, final text, and what its backspaces removed.

    Example i draws from the same stream under every decoding and for every method, so that differences between methods
    are paired. A policy without ``<bkspc>`` skips the decodings that concern it. Perturbed decoding writes what noise
    of ``kind`` does (``disturbances``), unless the decoding names another kind.

    Where a decoding draws several answers, the record is of the one chosen; ``pushes`` counts the tokens written for
    all of them, those taken back included: what answering costs.

    ``finished``: the sequence ended in ``<eos>``. In the family ``text`` completions have a length instead: finished is
    also what has as many live tokens as the real continuation when its actions run out, and ``text`` holds as many.
    So that deletions leave enough, max_actions should exceed that length.
    """
    for name in settings.decodings:
        if concerns_backspace(name) and not policy.backspace:
            continue
        procedure = parse_decoding(name, settings.max_actions)
        procedure = replace(procedure, kind=procedure.kind or kind)
        drawn = _answers_drawn(policy, examples, procedure, settings.batch, seed, tokenizer)
        for i, (example, rollouts) in enumerate(zip(examples, drawn, strict=True)):
            texts = [core.live_tokens(example.prompt, rollout.actions, policy.bkspc) for rollout in rollouts]
            chosen = choose(rollouts, texts, procedure.choice)
            rollout, live = rollouts[chosen], texts[chosen]
            finished = rollout.finished
            if family == "text":
                finished = finished or len(live) >= len(example.completion)
                live = live[: len(example.completion)]
            removed = removals(rollout.actions, example.completion, policy.bkspc)
            yield {
                "decoding": name,
                "example": i,
                "actions": rollout.actions,
                "text": tokenizer.decode(live),
                "rendered": tokenizer.render(rollout.actions),
                "solution": example.text,
                "finished": finished,
                "pushes": sum(action != policy.bkspc for each in rollouts for action in each.actions),
                "pops": len(removed),
                "wrong_pops": sum(removal.wrong for removal in removed),
            }


def _answers_drawn(
    policy: Policy, examples: Sequence[Example], procedure: Procedure, batch: int, seed: int, tokenizer: Tokenizer
) -> list[list[Rollout]]:
    """The answers to each example, side by side; the first one's stream is the same whatever their number."""
    items, streams = [], []
    for i in range(len(examples)):
        for k in range(attempts(procedure.attempts, seed, i)):
            items.append(i)
            streams.append(stable_seed(seed, "evaluation", i, k) if k else stable_seed(seed, "evaluation", i))
    perturbation = None
    if procedure.rate:
        written = disturbances(examples, procedure.kind, tokenizer)
        perturbation = Perturbation(procedure.rate, [written[i] for i in items], likely=procedure.kind == "model")
    prompts = [examples[i].prompt for i in items]
    rollouts, _ = sample(policy, prompts, procedure.decoding, streams, batch, perturbation)
    drawn: list[list[Rollout]] = [[] for _ in examples]
    for i, rollout in zip(items, rollouts, strict=True):
        drawn[i].append(rollout)
    return drawn


def attempts(mean: float, seed: int, item: int) -> int:
    """How many answers are drawn to a question: ``mean`` on average, as that may be no whole number."""
    whole = int(mean)
    return whole + bool(generator(seed, "attempts", item).random() < mean - whole)


def choose(rollouts: Sequence[Rollout], texts: Sequence[Sequence[int]], choice: str) -> int:
    """Which answer is given: for ``best_of`` the most likely by the policy's own log pi, deletions included; for
    ``majority`` the most frequent of those that ended, the first of several; otherwise the first."""
    if choice == "best_of":
        return max(range(len(rollouts)), key=lambda k: sum(rollouts[k].log_policy))
    if choice == "majority":
        votes = Counter(tuple(text) for text, rollout in zip(texts, rollouts, strict=True) if rollout.finished)
        return max(range(len(rollouts)), key=lambda k: rollouts[k].finished * votes[tuple(texts[k])])
    return 0


def disturbances(examples: Sequence[Example], kind: str, tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens that perturbed decoding writes after each prompt: digits of the question's base where noise of the
    ``kind`` 'task' does, any that is not special otherwise (for 'model', as likely as the policy finds them)."""
    if kind == "task":
        return [sorted(digit_ids(tokenizer, example.base)) for example in examples]
    return [tokenizer.ordinary_ids] * len(examples)


# --------------------------------------------------------------------------------------------------
# Repair: P(<bkspc>) after wrong tokens and after true ones
# --------------------------------------------------------------------------------------------------


def repair(
    policy: Policy,
    splits: Mapping[str, Sequence[Example]],
    family: str,
    settings: Evaluation,
    proposer: Path | None,
    seed: int,
    tokenizer: Tokenizer,
) -> dict:
    """The content of repair.json: for every kind of corruption, the answers to it (``answers``); none without
    ``<bkspc>``.

    Corrupted are the completions of the evaluated split; in the family ``text`` also the last token of each prompt, as
    in table 8. ``proposer``: folder of the policy that proposes wrong tokens of the kind 'model'.
    """
    examples = splits[settings.split]
    if family == "text":
        examples = [_with_last_of_prompt(example) for example in examples]
    found = {}
    for kind in settings.corruptions if policy.backspace else ():
        weights = model_noise(tokenizer, proposer) if kind == "model" else KINDS[kind](tokenizer, splits["train"])
        noised = noise_split(examples, 1.0, 1, weights, tokenizer.bkspc, (seed, "evaluation", kind))
        columns = (noised[name] for name in ("prompt", "actions", "imitated"))
        found[kind] = answers(policy, [Trajectory(*row) for row in zip(*columns, strict=True)], settings.batch)
    return {"backspace": policy.backspace, "corruptions": found}


def _with_last_of_prompt(example: Example) -> Example:
    """The example whose completion begins with the prompt's last token."""
    return replace(example, prompt=example.prompt[:-1], completion=[example.prompt[-1], *example.completion])


@torch.no_grad()
def answers(policy: Policy, corrupted: Sequence[Trajectory], batch: int) -> dict:
    """P(<bkspc>|s) right after a wrong token (``corrupted``) and right after a true one (``clean``).

    corrupted: reference completions with a wrong token and its ``<bkspc>`` before every token (noise at
    eta = 1), whose state tree holds every state asked for: one forward pass a batch. One mean per example;
    ``example_*`` says which, for a completion of one token has no clean state (the bare prompt and the state
    after ``<eos>`` do not count).
    """
    result: dict[str, list] = {"corrupted": [], "clean": [], "example_corrupted": [], "example_clean": []}
    policy.eval()
    for start in range(0, len(corrupted), batch):
        rows = corrupted[start : start + batch]
        inputs, (trajectories,) = core.state_tree([(row,) for row in rows], policy.bkspc)
        inputs = inputs.to(policy.device)
        hidden = policy.encode(inputs)
        after_wrong = trajectories.taken & (trajectories.action == policy.bkspc)
        after_true = trajectories.taken & ~trajectories.imitated
        after_true[:, 0] = False
        for i, states in enumerate(trajectories.state[:, :-1]):  # all logits at once would fill the memory
            logits = policy.logits(hidden[i], inputs.position[i])
            probability = logits.softmax(-1)[:, policy.bkspc].cpu()[states]
            for side, where in (("corrupted", after_wrong[i]), ("clean", after_true[i])):
                if where.any():
                    result[side].append(probability[where].mean().item())
                    result[f"example_{side}"].append(start + i)
    return result


# --------------------------------------------------------------------------------------------------
# Table 8: prompts whose last token was replaced
# --------------------------------------------------------------------------------------------------


def show(
    policy: Policy, examples: Sequence[Example], family: str, settings: Evaluation, seed: int, tokenizer: Tokenizer
) -> Iterator[dict]:
    """How the policy goes on, at temperature 1, after the first ``settings.shown`` prompts, the last token of each
    replaced by a random other one, which it may take back. None is picked.

    Of texts alone: elsewhere a prompt ends in set words, which no model here learns to write. Nothing without
    ``<bkspc>``.
    """
    if family != "text" or not policy.backspace:
        return
    prompts = [example.prompt[:-1] for example in examples[: settings.shown]]
    last = [_with_last_of_prompt(example) for example in examples[: settings.shown]]
    weights = random_noise(tokenizer, ())(last)
    wrong = [
        draw_wrong(example.completion, w, 0, generator(seed, "shown", "wrong", i))
        for i, (example, w) in enumerate(zip(last, weights, strict=True))
    ]
    streams = [stable_seed(seed, "shown", i) for i in range(len(prompts))]
    begun = [[token] for token in wrong]
    rollouts, _ = sample(policy, prompts, Decoding(settings.max_actions), streams, settings.batch, begun=begun)
    for i, (example, token, rollout) in enumerate(zip(last, wrong, rollouts, strict=True)):
        typed = [token, *rollout.actions]
        yield {
            "example": i,
            "prompt": tokenizer.decode(example.prompt),
            "true": tokenizer.decode(example.completion[:1]),
            "wrong": tokenizer.decode([token]),
            "pieces": [[tokenizer.decode(tokens), fate] for tokens, fate in pieces(typed, policy.bkspc, begun=1)],
            "answered_at_once": rollout.actions[0] == policy.bkspc,
            "rendered": tokenizer.render(typed),
        }
