"""Masking: the state tree and Algorithm 2 against a plain stack machine, the printed algorithm, and each other."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.networks import BKSPC, BOS, EOS, TOKENS, ExactNetwork, noised_trajectories, random_row, tiny_policy

from sequencematch import core
from sequencematch.core import Normaliser, Objective, Trajectory, algorithm_2, live_tokens, score, state_tree

# ---- what each state attends to ----------------------------------------------------------------------


def stacks(trajectory):
    """The live tokens, prompt included, in the states s_0 .. s_N: a plain stack machine."""
    stack, states = list(trajectory.prompt), [list(trajectory.prompt)]
    for action in trajectory.actions:
        stack = stack[: BKSPC - 1 - action] if action >= BKSPC else [*stack, action]
        states.append(stack)
    return states


def assert_states_hold_live_tokens(inputs, trajectories, rows):
    """Each state's input position attends to exactly its live tokens, in order, at positions 0 .. n-1."""
    mask = inputs.dense_mask()
    for b, row in enumerate(rows):
        expected = stacks(row)
        states = trajectories.state[b].tolist()
        assert states[len(expected) :] == [states[len(expected) - 1]] * (len(states) - len(expected))
        for state, stack in zip(states, expected, strict=False):
            attended = mask[b, state].nonzero()[:, 0]
            assert inputs.token[b, attended].tolist() == stack
            assert inputs.position[b, attended].tolist() == list(range(len(stack)))
            assert attended[-1] == state  # a state is the position of its own last token
        n = len(row.actions)
        assert trajectories.action[b].tolist() == [*row.actions, *[0] * (len(states) - 1 - n)]
        assert trajectories.taken[b].sum() == n and trajectories.taken[b, :n].all()
        assert trajectories.imitated[b].tolist() == [*row.imitated, *[False] * (len(states) - 1 - n)]


@given(st.lists(noised_trajectories(), min_size=1, max_size=3))
def test_state_tree_attends_to_the_live_tokens(rows):
    inputs, [trajectories] = state_tree([[row] for row in rows], BKSPC)
    assert_states_hold_live_tokens(inputs, trajectories, rows)


@given(st.lists(noised_trajectories(), min_size=1, max_size=3))
def test_algorithm_2_attends_to_the_live_tokens(rows):
    assert_states_hold_live_tokens(*algorithm_2(rows, BKSPC), rows)


@given(st.lists(st.builds(random_row, st.randoms(use_true_random=False), deletions=st.just(2)), min_size=1, max_size=3))
def test_trajectories_of_a_shared_prompt_do_not_see_each_other(rows):
    inputs, batches = state_tree(rows, BKSPC)
    for k, trajectories in enumerate(batches):
        assert_states_hold_live_tokens(inputs, trajectories, [row[k] for row in rows])


@given(noised_trajectories())
def test_live_tokens_are_what_the_last_state_holds(trajectory):
    live = live_tokens(trajectory.prompt, trajectory.actions, BKSPC)
    assert [*trajectory.prompt, *live] == stacks(trajectory)[-1]


def printed_algorithm_2(a):
    """Algorithm 2 as printed (appendix A), pointers c and d and all; y, which it never writes, left out."""
    length = len(a)
    x, p = list(a), [0] * length
    m = [[0] * length for _ in a]
    c = d = 0
    for i in range(length):
        m[i] = list(m[max(i - 1, 0)])
        if a[i] == BKSPC:
            m[i][c] = 0
            m[i][d] = 0
            m[i][i] = 1
            x[i] = x[c]
            p[i] = p[c]
            d = i
            c = max((j for j in range(c) if m[i][j]), default=0)
        else:
            m[i][i] = 1
            d = d + 1
            c = min((j for j in range(c + 1, length) if m[i][j]), default=0)
            p[i] = p[d - 1] + 1
        if i == 0:
            c, d = 0, 0
        if i == 1:
            c, d = 0, 1
    return x, m, p


@given(noised_trajectories(deletions=1))
def test_algorithm_2_is_the_printed_one_but_for_positions_one_too_high(trajectory):
    inputs, _ = algorithm_2([trajectory], BKSPC)
    x, m, p = printed_algorithm_2([*trajectory.prompt, *trajectory.actions])
    assert inputs.token[0].tolist() == x
    assert inputs.mask[0].int().tolist() == m
    assert (inputs.position[0] + 1).tolist() == p


@given(st.lists(st.tuples(st.sampled_from(TOKENS), st.booleans()), max_size=12))
def test_a_noise_insertion_costs_one_node_or_two_positions(steps):
    """n tokens and k insertions: n + k nodes in the tree, n + 2k positions in Algorithm 2."""
    actions = [a for token, noised in steps for a in ([TOKENS[0], BKSPC, token] if noised else [token])]
    row = Trajectory(prompt=[BOS], actions=actions, imitated=[True] * len(actions))
    n, k = 1 + len(steps), sum(noised for _, noised in steps)
    assert state_tree([[row]], BKSPC)[0].token.shape == (1, n + k)
    assert algorithm_2([row], BKSPC)[0].token.shape == (1, n + 2 * k)


# ---- loss and gradients ------------------------------------------------------------------------------

# js_delta bounds js's slope at 10: at 99, its default, float32 loses two digits whatever the masking.
OBJECTIVES = [
    Objective(divergence=divergence, alpha=0.1, gamma=0.9, weighting=weighting, js_delta=0.1, value_from="both")
    for divergence in core.DIVERGENCES
    for weighting in ("discounted", "uniform")
]
NETWORKS = [pytest.param(tiny_policy, 1e-6, id="float32"), pytest.param(ExactNetwork, 1e-10, id="float64")]


def batch(seed=0, rows=5):
    """Rows (data, rollout) of different lengths."""
    rng = random.Random(seed)
    return [random_row(rng) for _ in range(rows)]


def shared_trees(network, rows, pad=0):
    inputs, batches = state_tree(rows, BKSPC, pad)
    logits = network(inputs)
    return [score(logits, trajectories) for trajectories in batches]


def separate_trees(network, rows):
    return [shared_trees(network, [[row[k]] for row in rows])[0] for k in range(2)]


def separate_copies(network, rows, pad=0):
    encoded = [algorithm_2([row[k] for row in rows], BKSPC, pad) for k in range(2)]
    return [score(network(inputs), trajectories) for inputs, trajectories in encoded]


def losses(data, model):
    """BC, SequenceMatch with every divergence and weighting, and unlikelihood (every fourth action is bad)."""
    normaliser = Normaliser(
        trajectories=len(data.taken), length=5.0, cloned=4.0, model_transitions=model.taken.sum().item()
    )
    bad = model.taken & (torch.arange(model.taken.shape[1]) % 4 == 0)
    return [
        core.behavioural_cloning(data) / normaliser.cloning,
        core.unlikelihood(model, bad) / normaliser.model("uniform"),
        *(core.sequence_match(data, model, objective, normaliser) for objective in OBJECTIVES),
    ]


def values_and_gradients(network, values):
    """One vector per loss: its value, then its gradient in every parameter."""
    parameters = list(network.parameters())
    vectors = []
    for value in values:
        gradients = torch.autograd.grad(value, parameters, retain_graph=True)
        vectors.append(torch.cat([value.detach()[None], *(g.flatten() for g in gradients)]))
    return vectors


def assert_same(network, left, right, tolerance):
    """Equal losses and gradients, relative to the largest entry."""
    pairs = zip(values_and_gradients(network, left), values_and_gradients(network, right), strict=True)
    for number, (a, b) in enumerate(pairs):
        assert b.abs().max() > 0.01  # something was computed
        assert (a - b).abs().max() <= tolerance * b.abs().max(), f"loss {number}"


@pytest.mark.parametrize(("build", "tolerance"), NETWORKS)
def test_tree_and_algorithm_2_give_the_same_losses_and_gradients(build, tolerance):
    network, rows = build(), batch()
    tree, copies = separate_trees(network, rows), separate_copies(network, rows)
    assert_same(network, losses(*tree), losses(*copies), tolerance)


@pytest.mark.parametrize(("build", "tolerance"), NETWORKS)
def test_shared_prompt_gives_the_losses_and_gradients_of_two_trees(build, tolerance):
    network, rows = build(), batch(seed=1)
    assert_same(network, losses(*shared_trees(network, rows)), losses(*separate_trees(network, rows)), tolerance)


@pytest.mark.parametrize("encode", [shared_trees, separate_copies])
def test_padding_changes_nothing(encode):
    """A padded batch gives the sums of its rows alone, whatever token it is padded with."""
    network, rows = ExactNetwork(), batch(seed=2)

    def sums(data, model):
        return torch.stack(
            [
                core.behavioural_cloning(data),
                *(core.data_objective(data, objective) for objective in OBJECTIVES),
                *(core.rollout_objective(model, objective) for objective in OBJECTIVES),
            ]
        )

    padded = sums(*encode(network, rows, pad=EOS))
    alone = sum(sums(*encode(network, [row])) for row in rows)
    assert_same(network, padded, alone, 1e-10)


# ---- bad input ---------------------------------------------------------------------------------------


def actions(prompt, taken):
    return Trajectory(prompt=prompt, actions=taken, imitated=[True] * len(taken))


ENCODERS = [
    pytest.param(lambda row: state_tree([[row]], BKSPC), id="state_tree"),
    pytest.param(lambda row: algorithm_2([row], BKSPC), id="algorithm_2"),
]


@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize("taken", [[BKSPC], [3, BKSPC, BKSPC], [3, 4, BKSPC, BKSPC, BKSPC, 5]])
def test_bkspc_cannot_remove_the_prompt(encode, taken):
    with pytest.raises(ValueError, match="cannot remove a prompt token"):
        encode(actions([BOS, 5], taken))
    with pytest.raises(ValueError, match="cannot remove a prompt token"):
        live_tokens([BOS, 5], taken, BKSPC)


@pytest.mark.parametrize("encode", ENCODERS)
def test_an_empty_prompt_is_refused(encode):
    with pytest.raises(ValueError, match="at least one prompt token"):
        encode(actions([], [3, EOS]))


def test_trajectories_of_one_tree_must_share_their_prompt():
    with pytest.raises(ValueError, match="must share their prompt"):
        state_tree([[actions([BOS, 3], [EOS]), actions([BOS, 4], [EOS])]], BKSPC)
