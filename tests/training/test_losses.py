"""Losses of a micro-batch: squared rewards against their equation, and what whole passages add."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sequencematch import core
from sequencematch.core import Normaliser, Trajectory, prompt_index, score, state_tree
from sequencematch.settings.training import Objective
from sequencematch.training.losses import FUNCTIONS, Scored, ScoredBatch, core_objective

BKSPC = 7
ROWS = [
    Trajectory(prompt=[1, 4], actions=[5, 3, 2], imitated=[True] * 3),
    Trajectory(prompt=[1], actions=[6, 2], imitated=[True] * 2),
]
NORMALISER = Normaliser(trajectories=2, length=2.5, cloned=2.5)


def test_the_objective_has_the_same_defaults_in_the_library_and_in_the_configuration():
    assert core_objective(Objective()) == core.Objective()


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


@pytest.mark.parametrize("method", ["mle", "bc"])
def test_a_smoothed_label_is_cross_entropy_with_a_share_on_every_token(method):
    """torch's own label smoothing, over the vocabulary (a policy of MLE has no deletion)."""
    logits = random_logits()
    found, _ = FUNCTIONS[method](scored(logits), NORMALISER, Objective(label_smoothing=0.3), 0.0)
    rows = [
        (logits[b, len(row.prompt) - 1 + i, :BKSPC], action)
        for b, row in enumerate(ROWS)
        for i, action in enumerate(row.actions)
    ]
    inputs, targets = torch.stack([row for row, _ in rows]), torch.tensor([action for _, action in rows])
    assert torch.isclose(found, cross_entropy(inputs, targets, reduction="sum", label_smoothing=0.3) / 5)


def passages(logits):
    """Data, rollouts of the same prompts, and the prompts, which are imitated too; no passage has an end."""
    prompts = ([1, 4, 3], [1, 5])
    rows = [
        tuple(Trajectory(prompt=p, actions=a, imitated=[True] * len(a), ended=False) for a in ([6, BKSPC, 3], [5, 2]))
        for p in prompts
    ]
    _, states = state_tree(rows, bkspc=BKSPC)
    return ScoredBatch(*(Scored(index, score(logits, index)) for index in [*states, prompt_index(rows)]))


def seven_states():
    return torch.randn(2, 7, BKSPC + 1, generator=torch.Generator().manual_seed(3)).double().requires_grad_()


def gradient(name, beta, **settings):
    logits = seven_states()
    normaliser = Normaliser(trajectories=2, length=3.0, cloned=4.5, model_transitions=4)
    FUNCTIONS[name](passages(logits), normaliser, Objective(**settings), beta)[0].backward()
    return logits.grad


@pytest.mark.parametrize("name", ["sm", "dagger"])
def test_prompts_of_passages_are_imitated_as_in_behavioural_cloning(name):
    """With the same weight whatever beta is, and without ``<bkspc>``, which is no action there."""
    expected = gradient("bc", 0.0)
    for beta in (0.2, 1.0):
        found = gradient(name, beta)
        for row, states in enumerate((2, 1)):  # all states of a prompt but the last, in which completions begin
            torch.testing.assert_close(found[row, :states], expected[row, :states])
            assert found[row, :states].any() and not found[row, :states, BKSPC].any()


def test_law_1_holds_for_passages():
    """alpha -> 0: the prompt's cloning, and discounted cloning of the completion, at a rate of alpha."""
    limit = gradient("sm", 0.2, divergence="mle", gamma=0.9)

    def error(alpha):
        return (gradient("sm", 0.2, alpha=alpha, gamma=0.9) - limit).abs().max().item()

    logits = seven_states()
    batch = passages(logits)
    weights = 0.9 ** torch.arange(3)
    completion, prompt = -batch.data.scores.log_policy, -batch.prompts.scores.log_policy * batch.prompts.scores.taken
    expected = 0.2 * completion.sum() / 9 + 0.8 * (weights * completion).sum() / 6 + prompt.sum() / 9
    torch.testing.assert_close(torch.autograd.grad(expected, logits)[0], limit)
    assert error(1e-3) > 1e-6 and math.isclose(error(1e-4), error(1e-3) / 10, rel_tol=0.1)
