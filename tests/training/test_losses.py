"""Maximum likelihood with squared rewards, against its equation written out."""

import math

import pytest
import torch

from sequencematch.core import Normaliser, Trajectory, score, state_tree
from sequencematch.settings.training import Objective
from sequencematch.training.losses import FUNCTIONS, Scored, ScoredBatch

BKSPC = 7
ROWS = [
    Trajectory(prompt=[1, 4], actions=[5, 3, 2], imitated=[True] * 3),
    Trajectory(prompt=[1], actions=[6, 2], imitated=[True] * 2),
]
NORMALISER = Normaliser(trajectories=2, length=2.5, cloned=2.5)


def scored(logits):
    _, (states,) = state_tree([(row,) for row in ROWS], bkspc=BKSPC)
    return ScoredBatch(Scored(states, score(logits, states)))


def random_logits(shift=0.0):
    logits = torch.randn(2, 5, BKSPC + 1, generator=torch.Generator().manual_seed(3)) + shift
    logits[..., BKSPC] = -math.inf
    return logits.requires_grad_()


def loss(logits, **settings):
    return FUNCTIONS["iq"](scored(logits), NORMALISER, Objective(**settings), 0.0)


def test_it_is_the_equation():
    logits = random_logits()
    found, sums = loss(logits, gamma=0.9, iq_weight=0.5)
    value = logits.logsumexp(-1)
    squares, likelihoods = [], []
    for row, (v, logit) in zip(ROWS, zip(value, logits, strict=True), strict=True):
        first = len(row.prompt) - 1
        for i, action in enumerate(row.actions):
            likelihood = logit[first + i, action] - v[first + i]
            likelihoods.append(likelihood)
            squares.append((v[first + i] + likelihood - 0.9 * v[first + i + 1]) ** 2)
    assert math.isclose(sums["squared_reward"], sum(squares).item() / 5, rel_tol=1e-5)
    assert torch.isclose(found, -sum(likelihoods) / 5 + 0.5 * sum(squares) / 5)


def test_without_weight_it_is_maximum_likelihood():
    found, plain = random_logits(), random_logits()
    loss(found, iq_weight=0.0)[0].backward()
    FUNCTIONS["mle"](scored(plain), NORMALISER, Objective(), 0.0)[0].backward()
    assert torch.equal(found.grad, plain.grad)


@pytest.mark.parametrize("shift", [1.0, -2.0])
def test_it_knows_the_level_of_the_logits_and_maximum_likelihood_does_not(shift):
    """A constant added to all logits adds (1 - gamma) times it to every reward."""
    _, before = loss(random_logits(), gamma=0.9)
    _, after = loss(random_logits(shift), gamma=0.9)
    assert math.isclose(before["bc_loss"], after["bc_loss"], rel_tol=1e-5)
    _, undiscounted = loss(random_logits(), gamma=1 - 1e-7)
    _, shifted = loss(random_logits(shift), gamma=1 - 1e-7)
    assert math.isclose(undiscounted["squared_reward"], shifted["squared_reward"], rel_tol=1e-4)
    assert not math.isclose(before["squared_reward"], after["squared_reward"], rel_tol=1e-2)
