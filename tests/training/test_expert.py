"""The expert's answer to a rollout, on the token MDP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencematch.core import Trajectory, growth, live_tokens
from sequencematch.training.expert import relabel

EOS, BKSPC = 9, 10
PROMPT = [1, 2]


def reference(completion, actions=None):
    actions = actions or [*completion, EOS]
    return Trajectory(prompt=PROMPT, actions=actions, imitated=[True] * len(actions))


@pytest.mark.parametrize(
    ("rollout", "actions", "imitated"),
    [
        # Right throughout: the rollout itself.
        ([3, 4, 5, EOS], [3, 4, 5, EOS], [1, 1, 1, 1]),
        # Wrong, and gone on with: taken back at once, then the truth.
        ([3, 7, 8, EOS], [3, 7, BKSPC, 4, 5, EOS], [1, 0, 1, 1, 1, 1]),
        # Wrong in the last state of a rollout that was cut off.
        ([3, 7], [3, 7, BKSPC, 4, 5, EOS], [1, 0, 1, 1, 1, 1]),
        # Taken back by the policy itself: followed further, up to the next mistake.
        ([3, 7, BKSPC, 4, 8, 8], [3, 7, BKSPC, 4, 8, BKSPC, 5, EOS], [1, 0, 1, 1, 0, 1, 1, 1]),
        # A right token taken back: not imitated.
        ([3, BKSPC, 3, 4, 5, EOS], [3, BKSPC, 3, 4, 5, EOS], [1, 0, 1, 1, 1, 1]),
        # The end, too early: it cannot be taken back, so that it is left out.
        ([3, EOS], [3, 4, 5, EOS], [1, 1, 1, 1]),
        ([3, 7, EOS], [3, 7, BKSPC, 4, 5, EOS], [1, 0, 1, 1, 1, 1]),
        # Two tokens deleted at once: the wrong one and a right one, or two right ones.
        ([3, 7, BKSPC + 1, 3, 4], [3, 7, BKSPC + 1, 3, 4, 5, EOS], [1, 0, 0, 1, 1, 1, 1]),
        ([3, 4, BKSPC + 1, 3], [3, 4, BKSPC + 1, 3, 4, 5, EOS], [1, 1, 0, 1, 1, 1, 1]),
        # Gone on with where the end was due.
        ([3, 4, 5, 6, EOS], [3, 4, 5, 6, BKSPC, EOS], [1, 1, 1, 0, 1, 1]),
    ],
)
def test_examples(rollout, actions, imitated):
    found = relabel(rollout, reference([3, 4, 5]), BKSPC)
    assert found == Trajectory(prompt=PROMPT, actions=actions, imitated=[bool(i) for i in imitated])


@st.composite
def rollouts(draw):
    """Any rollout of the token MDP: no <bkspc> at the prompt, nothing after <eos>."""
    actions, live = [], 0
    for action in draw(st.lists(st.sampled_from([3, 4, 5, EOS, BKSPC, BKSPC + 1]), max_size=20)):
        if live + growth(action, BKSPC) >= 0:
            actions.append(action)
            live += growth(action, BKSPC)
        if action == EOS:
            break
    return actions


@given(rollouts(), st.lists(st.sampled_from([3, 4, 5]), max_size=6))
def test_laws(rollout, completion):
    found = relabel(rollout, reference(completion), BKSPC)
    expert = [*completion, EOS]
    # The expert ends with its own completion.
    assert found.ended and live_tokens(PROMPT, found.actions, BKSPC) == expert
    # What the policy did before the expert took over is a prefix of its rollout.
    states = [live_tokens(PROMPT, found.actions[:i], BKSPC) for i in range(len(found.actions))]
    for state, action, imitated in zip(states, found.actions, found.imitated, strict=True):
        # No state is further from the expert's than one token, and the expert's own action is what is imitated there.
        right = state == expert[: len(state)]
        assert right or state[:-1] == expert[: len(state) - 1]
        assert imitated == (action == (expert[len(state)] if right else BKSPC))
    own = next((i for i, (a, b) in enumerate(zip(found.actions, rollout, strict=False)) if a != b), len(rollout))
    assert all(found.imitated[own:])


def test_the_expert_is_what_a_noised_example_leaves_live():
    noised = Trajectory(prompt=PROMPT, actions=[3, 8, BKSPC, 4, EOS], imitated=[True, False, True, True, True])
    assert list(relabel([5, 5], noised, BKSPC).actions) == [5, BKSPC, 3, 4, EOS]
