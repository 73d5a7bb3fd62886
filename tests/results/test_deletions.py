"""What backspaces took back, by hand, against a second way to count, and of what stays."""

from hypothesis import given
from hypothesis import strategies as st
from support.networks import BKSPC, noised_trajectories

from sequencematch import core
from sequencematch.results.deletions import pieces, removals


def test_removals_name_the_place_and_the_mistake():
    found = removals([4, 5, BKSPC, 6, BKSPC, BKSPC, 7], [4, 6], BKSPC)
    assert [(removal.place, removal.wrong) for removal in found] == [(1, True), (1, False), (0, False)]
    assert [removal.wrong for removal in removals([7, 9, 5, 9, 6], [7, 5, 6], 9)] == [False, True]
    assert [removal.wrong for removal in removals([8, 9, 7, 6, 9, 5], [7, 5, 6], 9)] == [True, True]


@given(noised_trajectories(), st.randoms(use_true_random=False))
def test_removals_are_the_states_that_were_left(trajectory, rng):
    """A backspace leaves the state that stood before it, whose depth and text the actions so far give."""
    completion = [rng.randrange(3, 6) for _ in range(6)]
    left = []
    for place, action in enumerate(trajectory.actions):
        live = core.live_tokens(trajectory.prompt, trajectory.actions[:place], BKSPC)
        left += [live[: len(live) - gone] for gone in range(-core.growth(action, BKSPC))]  # the last one first
    found = removals(trajectory.actions, completion, BKSPC)
    assert [removal.place for removal in found] == [len(live) - 1 for live in left]
    assert [removal.wrong for removal in found] == [list(live) != completion[: len(live)] for live in left]


def test_pieces_by_hand():
    typed = [7, 9, 3, 4, 9, 5, 6]
    assert pieces(typed, 9) == [([7], "deleted"), ([3], "kept"), ([4], "deleted"), ([5, 6], "kept")]
    assert pieces([7, 3, 4, 9, 9, 9, 5], 9) == [([7, 3, 4], "deleted"), ([5], "kept")]
    assert pieces([7, 3, 4, 9, 9, 9, 5], 9, begun=1) == [([7], "deleted"), ([3, 4], "deleted"), ([5], "kept")]
    assert pieces([7, 3, 4], 9, begun=1) == [([7], "kept"), ([3, 4], "kept")]
    assert pieces([7], 9, begun=1) == [([7], "kept")] and pieces([], 9) == []


@given(noised_trajectories(), st.integers(0, 2))
def test_kept_pieces_are_the_live_tokens_and_all_pieces_what_was_typed(trajectory, begun):
    found = pieces(trajectory.actions, BKSPC, begun)
    kept = [token for tokens, fate in found if fate == "kept" for token in tokens]
    assert kept == list(core.live_tokens(trajectory.prompt, trajectory.actions, BKSPC))
    assert [t for tokens, _ in found for t in tokens] == [t for t in trajectory.actions if t < BKSPC]
