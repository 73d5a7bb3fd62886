"""A small MDP of token sequences with backspaces, as tables: the problem the laws are checked on.

States are strings over {a, b} of at most two tokens, and the absorbing states that <eos> leads to.
A state's index is its row in a table of free logits, so the core scores trajectories through the
table exactly as it scores them through a network. Actions: a, b, <eos>, <bkspc>.
"""

import torch

from sequencematch import core
from sequencematch.core import StateIndex, score

STRINGS = ["", "a", "b", "aa", "ab", "ba", "bb"]
STATES = STRINGS + [string + "." for string in STRINGS]
A = 4


def successor(state: str, action: int) -> str | None:
    """The state an action leads to; None where it is not allowed."""
    if state.endswith("."):
        return state if action == 0 else None  # absorbing: one action, for ever
    if action == 3:
        return state[:-1] if state else None
    pushed = state + "ab."[action]
    return pushed if pushed in STATES else None


INDEX = {state: index for index, state in enumerate(STATES)}
NEXT = torch.tensor([[INDEX.get(successor(s, a), -1) for a in range(A)] for s in STATES])  # -1: not allowed
LEGAL = NEXT >= 0
ABSORBING = torch.tensor([state.endswith(".") for state in STATES])


def random_table(scale: float = 1.0) -> torch.Tensor:
    """Logits l(a|s) [S, A], -inf where an action is not allowed."""
    return torch.where(LEGAL, scale * torch.randn(len(STATES), A), -torch.inf)


def policy_of(table):
    return torch.softmax(table, dim=1)


def sample(policy, count: int) -> StateIndex:
    """Trajectories from the empty string, until all have ended; states are rows of the table."""
    states, actions, taken = [torch.zeros(count, dtype=torch.long)], [], []
    while not ABSORBING[states[-1]].all():
        actions.append(torch.multinomial(policy[states[-1]], 1)[:, 0])
        taken.append(~ABSORBING[states[-1]])
        states.append(NEXT[states[-1], actions[-1]])
    taken = torch.stack(taken, 1)
    return StateIndex(
        state=torch.stack(states, 1),
        action=torch.stack(actions, 1),
        taken=taken,
        imitated=taken,
        ended=torch.ones(count, dtype=torch.bool),
    )


def scores_of(table, trajectories):
    return score(table.expand(len(trajectories.state), *table.shape), trajectories)


def every_step() -> StateIndex:
    """Each allowed (s, a) outside the absorbing states, as a trajectory of one action."""
    state, action = (LEGAL & ~ABSORBING[:, None]).nonzero(as_tuple=True)
    taken = torch.ones(len(state), 1, dtype=torch.bool)
    return StateIndex(
        state=torch.stack([state, NEXT[state, action]], 1),
        action=action[:, None],
        taken=taken,
        imitated=taken,
        ended=taken[:, 0],
    )


def table_of_rewards(table, objective):
    """r(s, a) [S, A] as the core computes it; 0 where an action is not allowed."""
    steps = every_step()
    before, after = steps.state.T
    r = core.rewards(scores_of(table, steps), objective)
    rewards = torch.zeros_like(table)
    rewards[before, steps.action[:, 0]] = r[:, 0]
    ends = ABSORBING[after]
    rewards[after[ends], 0] = r[ends, 1]  # the last column is the absorbing state's own reward
    return rewards


def occupancy(policy, gamma):
    """Sum over t of gamma^t P(s_t = s, a_t = a), [S, A], from the empty string; absorbing states for ever."""
    step = torch.zeros(len(STATES), len(STATES))
    for s, a in LEGAL.nonzero():
        step[s, NEXT[s, a]] += policy[s, a]
    start = torch.eye(len(STATES))[0]
    return torch.linalg.solve(torch.eye(len(STATES)) - gamma * step.T, start)[:, None] * policy


def empirical_occupancy(trajectories, gamma):
    """The data's own sum_t gamma^t [s_t = s, a_t = a], [S, A], a mean over trajectories; absorbing tails included."""
    count, steps = trajectories.action.shape
    weights = (gamma ** torch.arange(steps)).expand(count, steps) * trajectories.taken
    measure = torch.zeros(len(STATES), A)
    measure.index_put_((trajectories.state[:, :-1], trajectories.action), weights, accumulate=True)
    tail = gamma ** trajectories.taken.sum(1) / (1 - gamma)
    measure[:, 0].index_put_((trajectories.state[:, -1],), tail, accumulate=True)
    return measure / count
