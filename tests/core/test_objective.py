"""The objective: sums and gradients against a naive reference, precision, accumulation, n-grams."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.networks import BKSPC, random_row

from sequencematch import core
from sequencematch.core import Normaliser, Objective, StateIndex, Trajectory, score, state_tree

# Weighting, and where the value bracket is estimated.
ESTIMATORS = [("discounted", "data"), ("discounted", "both"), ("uniform", "both")]
OBJECTIVES = [
    pytest.param(
        Objective(divergence=divergence, alpha=0.2, gamma=0.8, weighting=weighting, value_from=value_from),
        id=f"{divergence}-{weighting}-{value_from}",
    )
    for divergence in core.DIVERGENCES
    for weighting, value_from in ESTIMATORS
]


def encoded(seed=0, rows=4):
    """Float64 logits that require gradients, and the (data, rollout) trajectories of rows that share a prompt."""
    rng = random.Random(seed)
    inputs, batches = state_tree([random_row(rng) for _ in range(rows)], BKSPC)
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(*inputs.token.shape, BKSPC + 1, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(), batches


def everything_imitated(trajectories):
    return replace(trajectories, imitated=trajectories.taken)


def normaliser_of(data, model):
    length = data.taken.sum().item() / len(data.taken)
    return Normaliser(
        trajectories=len(data.taken), length=length, cloned=length, model_transitions=model.taken.sum().item()
    )


# ---- sums --------------------------------------------------------------------------------------------


def naive_halves(logits, states, actions, imitated, ended, objective):
    """J as it is written, one trajectory, transition by transition: (data part, model part) of J.

    A step that is not imitated leaves both sums of the data part: its phi, and all of its value term. Where no token is
    live, ``<bkspc>`` is no action and V leaves it out. A trajectory that was cut off has no absorbing state.
    """
    g, alpha = objective.gamma, objective.alpha
    discounted = objective.weighting == "discounted"
    share = {"data": 1.0, "both": 0.5}[objective.value_from]
    n, live = len(actions), 0
    value = []
    for i, s in enumerate(states):
        value.append(torch.logsumexp(logits[s] if live else logits[s, :BKSPC], dim=0))
        live += 0 if i == n else -1 if actions[i] == BKSPC else 1
    data = model = 0.0
    for i, action in enumerate(actions):
        weight = g**i if discounted else 1.0
        r = alpha * (logits[states[i], action] - g * value[i + 1])
        bracket = value[i] - g * value[i + 1]
        data = data + weight * (objective.phi(r) / alpha - share * bracket if imitated[i] else (1 - share) * bracket)
        model = model - weight * ((1 - share) * bracket + objective.rollout_penalty / alpha * r**2)
    if not ended:
        return data, model
    # The absorbing state pays r = alpha (1 - g) V(s_N) for ever: g^N / (1 - g) of it, or one transition.
    weight = g**n / (1 - g) if discounted else 1.0
    r = alpha * (1 - g) * value[n]
    data = data + weight * (objective.phi(r) / alpha - share * (1 - g) * value[n])
    model = model - weight * ((1 - share) * (1 - g) * value[n] + objective.rollout_penalty / alpha * r**2)
    return data, model


def gradient(value, logits):
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def assert_same(found, expected, logits):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(found, logits), gradient(expected, logits), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("imitate", [lambda t: t, everything_imitated], ids=["noise-left-out", "noise-imitated"])
def test_objective_is_the_sum_method_writes(objective, imitate):
    logits, batches = encoded(rows=12)
    assert all(0 < batch.ended.sum() < len(batch.ended) for batch in batches)
    for trajectories in map(imitate, batches):
        scores = score(logits, trajectories)
        data = model = 0.0
        for b, taken in enumerate(trajectories.taken):
            n = taken.sum().item()
            halves = naive_halves(
                logits[b],
                trajectories.state[b, : n + 1].tolist(),
                trajectories.action[b, :n].tolist(),
                trajectories.imitated[b, :n].tolist(),
                trajectories.ended[b].item(),
                objective,
            )
            data, model = data + halves[0], model + halves[1]
        for found, expected in ((core.data_objective, data), (core.rollout_objective, model)):
            assert_same(found(scores, objective), expected, logits)


def test_chi2_mixture_splits_its_quadratic_by_c_and_beta():
    objective = Objective(divergence="chi2_mixture", c=0.6, beta_mix=0.3)
    r = torch.tensor(2.0)
    assert objective.phi(r).item() == pytest.approx(2 - 0.6 * 0.3 * 4)
    assert objective.rollout_penalty == pytest.approx(0.6 * 0.7)
    assert all(Objective(divergence=name).rollout_penalty == 0 for name in core.DIVERGENCES if name != "chi2_mixture")


def test_cloning_and_unlikelihood_are_the_sums_they_name():
    logits, [data, model] = encoded()
    cloning = unlikelihood = 0.0
    bad = model.taken & (model.action % 2 == 1)
    for b in range(len(logits)):
        first = data.state[b, 0]  # data and rollout start in the same state, which a tree revisits as the same node

        def log_policy(s, action):
            allowed = logits[b, s, :BKSPC] if s == first else logits[b, s]  # noqa: B023
            return allowed.log_softmax(0)[action]

        for i in data.imitated[b].nonzero()[:, 0]:
            cloning = cloning - log_policy(data.state[b, i], data.action[b, i])
        for i in bad[b].nonzero()[:, 0]:
            unlikelihood = unlikelihood - torch.log(1 - log_policy(model.state[b, i], model.action[b, i]).exp())
    assert bad.any() and data.imitated.sum() < data.taken.sum()
    assert_same(core.behavioural_cloning(score(logits, data)), cloning, logits)
    assert_same(core.unlikelihood(score(logits, model), bad), unlikelihood, logits)


@pytest.mark.parametrize("made", [Trajectory, core.Inputs, StateIndex, core.Scores, Objective, Normaliser])
def test_a_value_without_its_name_is_refused(made):
    """Fields have changed their meaning before: then a caller must fail, and not train by other numbers."""
    with pytest.raises(TypeError, match="takes 1 positional argument"):
        made(1)


def test_uniform_weights_need_both_halves():
    with pytest.raises(ValueError, match="uniform weights need value_from 'both'"):
        Objective(weighting="uniform")


@pytest.mark.parametrize(("weighting", "value_from"), ESTIMATORS)
def test_sequence_match_divides_each_part_by_its_own_count(weighting, value_from):
    """Discounted: both are means over trajectories, on one scale. Uniform: rollouts are a mean per transition."""
    logits, [data, model] = encoded()
    data, model = score(logits, data), score(logits, model)
    objective = Objective(alpha=0.2, gamma=0.8, weighting=weighting, value_from=value_from)
    counts = Normaliser(trajectories=10, length=5.0, cloned=4.0, model_transitions=30)
    per_model = {"uniform": 30, "discounted": 50}[weighting]
    expected = core.data_objective(data, objective) / 50 + core.rollout_objective(model, objective) / per_model
    torch.testing.assert_close(core.sequence_match(data, model, objective, counts), -expected)
    assert counts.cloning == 40


def test_prompts_are_trajectories_of_their_own():
    """Every token of a prompt but its first is imitated, in the states of either encoding."""
    rng = random.Random(2)
    rows = [[trajectory] for trajectory in (random_row(rng)[0] for _ in range(5))]
    inputs, _ = state_tree(rows, BKSPC)
    copies, _ = core.algorithm_2([row[0] for row in rows], BKSPC)
    index = core.prompt_index(rows)
    assert index.taken.any() and not index.ended.any()
    for b, (row,) in enumerate(rows):
        n = len(row.prompt) - 1
        assert index.taken[b].sum() == n and index.action[b, :n].tolist() == list(row.prompt[1:])
        for encoded_inputs in (inputs, copies):
            assert encoded_inputs.token[b, index.state[b, : n + 1]].tolist() == list(row.prompt)
    logits = torch.randn(*inputs.token.shape, BKSPC + 1)
    ruled_out = logits.index_fill(2, torch.tensor(BKSPC), -torch.inf)
    torch.testing.assert_close(score(logits, index).value, score(ruled_out, index).value)


# ---- precision, accumulation -------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_micro_batches_add_up_to_the_batch(objective):
    """Each padded to its own length, all divided by the normaliser of the whole."""
    rng = random.Random(3)
    rows = [random_row(rng) for _ in range(6)]
    table = torch.randn(BKSPC, BKSPC + 1, dtype=torch.float64, requires_grad=True)  # logits by last token

    def scores(part):
        inputs, batches = state_tree(part, BKSPC)
        return [score(table[inputs.token], trajectories) for trajectories in batches]

    normaliser = normaliser_of(*scores(rows))

    def loss(part):
        return core.sequence_match(*scores(part), objective, normaliser)

    accumulated = sum(loss(part) for part in (rows[:1], rows[1:3], rows[3:]))
    torch.testing.assert_close(accumulated, loss(rows))
    torch.testing.assert_close(gradient(accumulated, table), gradient(loss(rows), table))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_padding_and_impossible_actions_give_no_nan(objective):
    """Huge logits, and -inf for an action that padding names but no trajectory takes."""
    logits, [data, model] = encoded()
    logits = (logits.detach().float() * 200).requires_grad_()
    impossible = torch.where(torch.arange(BKSPC + 1) == 0, -torch.inf, logits)
    data, model = score(impossible, data), score(impossible, model)
    loss = core.sequence_match(data, model, objective, normaliser_of(data, model))
    loss = loss + core.behavioural_cloning(data) + core.unlikelihood(model, model.taken)
    assert loss.isfinite() and gradient(loss, logits).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_of_half_precision_logits_are_float32(dtype):
    logits, [data, _] = encoded()
    half = score(logits.detach().to(dtype), data)
    single = score(logits.detach().to(dtype).float(), data)
    assert half.logit.dtype == half.value.dtype == torch.float32
    assert torch.equal(half.logit, single.logit) and torch.equal(half.value, single.value)
    assert score(logits, data).value.dtype == torch.float64


# ---- repeated n-grams --------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=3), st.integers(1, 4))
def test_repeated_ngrams_is_the_naive_loop(rows, n):
    actions = [Trajectory(prompt=[1], actions=row, imitated=[True] * len(row)) for row in rows]
    [trajectories] = state_tree([[row] for row in actions], BKSPC)[1]
    longest = max(map(len, rows))
    expected = [[False] * longest for _ in rows]
    for b, row in enumerate(rows):
        seen = set()
        for i in range(n - 1, len(row)):
            gram = tuple(row[i - n + 1 : i + 1])
            for place in range(i - n + 1, i + 1) if gram in seen else ():
                expected[b][place] = True
            seen.add(gram)
    assert core.repeated_ngrams(trajectories, n).tolist() == expected
