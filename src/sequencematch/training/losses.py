"""What each method minimises on one micro-batch: the only difference between the methods' training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sequencematch import core
from sequencematch.core import Normaliser, Scores, Trajectory
from sequencematch.model.policy import Policy
from sequencematch.settings.training import Objective

Sums = dict[str, float]


@dataclass(frozen=True)
class Loss:
    """A method's loss: whether its policy has ``<bkspc>``, whether it trains on rollouts, and the function.

    The function maps scored trajectories (data, or data and rollout), the effective batch's
    normaliser, the settings and beta to a loss and to sums of what the metrics file reports.
    """

    backspace: bool
    rollouts: bool
    function: Callable[[Sequence["Scored"], Normaliser, Objective, float], tuple[Tensor, Sums]]


@dataclass(frozen=True)
class Scored:
    """One batch of trajectories and their scores."""

    trajectories: core.StateIndex
    scores: Scores


def _cloning(scored, normaliser, settings, beta):
    loss = core.behavioural_cloning(scored[0].scores) / normaliser.data_transitions
    return loss, {"bc_loss": loss.item()}


def _unlikelihood(scored, normaliser, settings, beta):
    model = scored[1]
    cloning, sums = _cloning(scored, normaliser, settings, beta)
    repeated = core.repeated_ngrams(model.trajectories, settings.uls_ngram)
    penalty = core.unlikelihood(model.scores, repeated) / normaliser.model_transitions
    sums |= {"uls_loss": penalty.item(), "repeated_share": repeated.sum().item() / normaliser.model_transitions}
    return cloning + settings.uls_weight * penalty, sums


def _sequence_match(scored, normaliser, settings, beta):
    data, model = scored
    objective = core_objective(settings)
    cloning, sums = _cloning(scored, normaliser, settings, beta)
    matching = core.sequence_match(data.scores, model.scores, objective, normaliser)
    with torch.no_grad():
        sums |= {"sm_loss": matching.item()}
        for name, side, count in (
            ("data", data.scores, normaliser.data_transitions),
            ("rollout", model.scores, normaliser.model_transitions),
        ):
            r = core.rewards(side, objective)[:, :-1]
            sums[f"r_{name}"] = r.sum().item() / count
        tail = data.scores.value[:, -1]
        sums["v_tail"] = tail.sum().item() / normaliser.data_rows
        if settings.divergence == "js":
            r = core.rewards(data.scores, objective)[:, :-1]
            on_tangent = (r < -core.LOG_2 + settings.js_delta) & data.scores.imitated
            sums["js_tangent_share"] = on_tangent.sum().item() / normaliser.data_transitions
    return beta * cloning + (1 - beta) * matching, sums


LOSSES = {
    "mle": Loss(backspace=False, rollouts=False, function=_cloning),
    "uls": Loss(backspace=False, rollouts=True, function=_unlikelihood),
    "bc": Loss(backspace=True, rollouts=False, function=_cloning),
    "sm": Loss(backspace=True, rollouts=True, function=_sequence_match),
}


def core_objective(settings: Objective) -> core.Objective:
    """The objective's constants as the core takes them."""
    names = ("divergence", "alpha", "gamma", "weighting", "c", "beta_mix", "js_delta")
    return core.Objective(**{name: getattr(settings, name) for name in names})


def count(rows: Sequence[Sequence[Trajectory]]) -> Normaliser:
    """The normaliser of an effective batch of rows: (data,) or (data, rollout)."""
    data, *model = [sum(len(trajectory.actions) for trajectory in column) for column in zip(*rows, strict=True)]
    return Normaliser(data, sum(model), len(rows), len(rows) * len(model))


def score_rows(policy: Policy, rows: Sequence[Sequence[Trajectory]]) -> list[Scored]:
    """Encode rows as state trees (each prompt once), run the policy, and score every trajectory."""
    inputs, batches = core.state_tree(rows, policy.bkspc)
    scores = policy.score(inputs, batches)
    return [Scored(batch.to(policy.device), s) for batch, s in zip(batches, scores, strict=True)]
