"""What each method minimises on one micro-batch: the only difference between the methods' training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sequencematch import core
from sequencematch.core import Normaliser, Scores, StateIndex
from sequencematch.model.policy import Policy
from sequencematch.settings.training import Objective
from sequencematch.training.batches import Row

Sums = dict[str, float]


@dataclass(frozen=True)
class Scored:
    """Trajectories of one kind, and their scores."""

    states: StateIndex
    scores: Scores


@dataclass(frozen=True)
class ScoredBatch:
    """A scored micro-batch: data; rollouts, where the loss reads them; prompts, where they are imitated too."""

    data: Scored
    rollouts: Scored | None = None
    prompts: Scored | None = None


def _cloning(batch, normaliser, settings, beta):
    loss = core.behavioural_cloning(batch.data.scores, settings.label_smoothing)
    if batch.prompts is not None:
        loss = loss + core.behavioural_cloning(batch.prompts.scores, settings.label_smoothing)
    loss = loss / normaliser.cloning
    return loss, {"bc_loss": loss.item()}


def _prompts(batch, normaliser):
    """The part of ``_cloning`` that is of prompts. Its weight is 1 in every loss: they differ in completions alone."""
    return 0.0 if batch.prompts is None else core.behavioural_cloning(batch.prompts.scores) / normaliser.cloning


def _unlikelihood(batch, normaliser, settings, beta):
    cloning, sums = _cloning(batch, normaliser, settings, beta)
    repeated = core.repeated_ngrams(batch.rollouts.states, settings.uls_ngram)
    penalty = core.unlikelihood(batch.rollouts.scores, repeated) / normaliser.data
    sums |= {"uls_loss": penalty.item(), "repeated_share": repeated.sum().item() / normaliser.model_transitions}
    return cloning + settings.uls_weight * penalty, sums


def _inverse_soft_q(batch, normaliser, settings, beta):
    """Rewards of the data at alpha = 1, held small: V(s) + log pi(a|s) - gamma V(s') (Wulfmeier et al., 2024)."""
    cloning, sums = _cloning(batch, normaliser, settings, beta)
    rewards = core.rewards(batch.data.scores, core.Objective(alpha=1.0, gamma=settings.gamma))[:, :-1]
    squared = rewards.square().sum() / normaliser.data
    return cloning + settings.iq_weight * squared, sums | {"squared_reward": squared.item()}


def _dagger(batch, normaliser, settings, beta):
    cloning, sums = _cloning(batch, normaliser, settings, beta)
    relabelled = core.behavioural_cloning(batch.rollouts.scores) / normaliser.cloning
    return (cloning + relabelled + _prompts(batch, normaliser)) / 2, sums | {"relabelled_loss": relabelled.item()}


def _sequence_match(batch, normaliser, settings, beta):
    data, model = batch.data.scores, batch.rollouts.scores
    objective = core_objective(settings)
    cloning, sums = _cloning(batch, normaliser, settings, beta)
    matching = core.sequence_match(data, model, objective, normaliser)
    with torch.no_grad():
        sums |= {"sm_loss": matching.item()}
        r_data, r_rollout = (core.rewards(scores, objective)[:, :-1] for scores in (data, model))
        sums["r_data"] = r_data.sum().item() / normaliser.data
        sums["r_rollout"] = r_rollout.sum().item() / normaliser.model_transitions
        sums["v_tail"] = data.value[:, -1].sum().item() / normaliser.trajectories
        if settings.divergence == "js":
            on_tangent = (r_data < -core.LOG_2 + settings.js_delta) & data.imitated
            sums["js_tangent_share"] = on_tangent.sum().item() / normaliser.data
    return beta * cloning + (1 - beta) * (matching + _prompts(batch, normaliser)), sums


# The function of each loss of settings/losses.py. It maps a scored micro-batch, the normaliser of the effective batch,
# the settings and beta to a loss and to sums of what the metrics file reports.
FUNCTIONS: dict[str, Callable[[ScoredBatch, Normaliser, Objective, float], tuple[Tensor, Sums]]] = {
    "mle": _cloning,
    "head": _cloning,  # and then training/deletion_head.py
    "uls": _unlikelihood,
    "iq": _inverse_soft_q,
    "bc": _cloning,
    "sm": _sequence_match,
    "dagger": _dagger,
    "keep": _cloning,
    "rewind": _cloning,
}


def core_objective(settings: Objective) -> core.Objective:
    """The objective's constants as the core takes them."""
    return core.Objective(**{field.name: getattr(settings, field.name) for field in fields(core.Objective)})


def score_rows(policy: Policy, rows: Sequence[Row], prompts: bool = False) -> list[Scored]:
    """Rows read as state trees (each prompt once), scored column by column; ``prompts``: as a further column."""
    inputs, states = policy.tree(rows)
    if prompts:
        states = [*states, core.prompt_index(rows)]
    scores = policy.score(inputs, states)
    return [Scored(column.to(policy.device), s) for column, s in zip(states, scores, strict=True)]


def score_batch(policy: Policy, rows: Sequence[Row], share_prompts: bool, imitate_prompt: bool) -> ScoredBatch:
    """Score a micro-batch: one tree per row where its trajectories share their prompt, otherwise one tree for each."""
    if share_prompts or len(rows[0]) == 1:
        data, *others = score_rows(policy, rows, imitate_prompt)
        prompts = others.pop() if imitate_prompt else None
        return ScoredBatch(data, next(iter(others), None), prompts)
    columns = zip(*rows, strict=True)
    data, *others = score_rows(policy, [(t,) for t in next(columns)], imitate_prompt)
    (rollouts,) = score_rows(policy, [(t,) for t in next(columns)])
    return ScoredBatch(data, rollouts, *others)
