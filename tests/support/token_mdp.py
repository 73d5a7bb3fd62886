"""A small MDP of token sequences with deletions, as tables: the problem the laws are checked on.

States are strings over {a, b} of at most two tokens, and the absorbing states that <eos> leads to.
A state's index is its row in a table of free logits, so the core scores trajectories through the
table exactly as it scores them through a network. Actions: a, b, <eos>, and the deletion of 1 .. ``deletions`` tokens.
"""

import torch

from sequencematch import core
from sequencematch.core import StateIndex, growth, score

STRINGS = ["", "a", "b", "aa", "ab", "ba", "bb"]
STATES = STRINGS + [string + "." for string in STRINGS]
BKSPC = 3


def successor(state: str, action: int) -> str | None:
    """The state an action leads to; None where it is not allowed."""
    if state.endswith("."):
        return state if action == 0 else None  # absorbing: one action, for ever
    if action >= BKSPC:
        left = len(state) + growth(action, BKSPC)
        return state[:left] if left >= 0 else None
    pushed = state + "ab."[action]
    return pushed if pushed in STATES else None


INDEX = {state: index for index, state in enumerate(STATES)}
ABSORBING = torch.tensor([state.endswith(".") for state in STATES])


def policy_of(table):
    return torch.softmax(table, dim=1)


class TokenMDP:
    """The MDP in which an action deletes up to ``deletions`` tokens."""

    def __init__(self, deletions: int):
        self.deletions = deletions
        self.actions = BKSPC + deletions
        moves = [[INDEX.get(successor(s, a), -1) for a in range(self.actions)] for s in STATES]
        self.next = torch.tensor(moves)  # -1: not allowed
        self.legal = self.next >= 0

    def random_table(self, scale: float = 1.0) -> torch.Tensor:
        """Logits l(a|s) [S, A], -inf where an action is not allowed."""
        return torch.where(self.legal, scale * torch.randn(self.legal.shape), -torch.inf)

    def sample(self, policy, count: int) -> StateIndex:
        """Trajectories from the empty string, until all have ended; states are rows of the table."""
        states, actions, taken = [torch.zeros(count, dtype=torch.long)], [], []
        while not ABSORBING[states[-1]].all():
            actions.append(torch.multinomial(policy[states[-1]], 1)[:, 0])
            taken.append(~ABSORBING[states[-1]])
            states.append(self.next[states[-1], actions[-1]])
        taken = torch.stack(taken, 1)
        return StateIndex(
            state=torch.stack(states, 1),
            action=torch.stack(actions, 1),
            taken=taken,
            imitated=taken,
            ended=torch.ones(count, dtype=torch.bool),
        )

    def scores_of(self, table, trajectories):
        return score(table.expand(len(trajectories.state), *table.shape), trajectories, self.deletions)

    def every_step(self) -> StateIndex:
        """Each allowed (s, a) outside the absorbing states, as a trajectory that writes s and takes a."""
        walks = [
            (s, [*map("ab".index, STATES[s]), a]) for s, a in (self.legal & ~ABSORBING[:, None]).nonzero().tolist()
        ]
        longest = max(len(actions) for _, actions in walks)
        state, action, taken = [], [], []
        for _, actions in walks:
            visited = [0]
            for a in actions:
                visited.append(int(self.next[visited[-1], a]))
            padding = longest - len(actions)
            state.append(visited + [visited[-1]] * padding)
            action.append(actions + [0] * padding)
            taken.append([True] * len(actions) + [False] * padding)
        return StateIndex(
            state=torch.tensor(state),
            action=torch.tensor(action),
            taken=torch.tensor(taken),
            imitated=torch.tensor(taken),
            ended=torch.ones(len(walks), dtype=torch.bool),
        )

    def table_of_rewards(self, table, objective):
        """r(s, a) [S, A] as the core computes it; 0 where an action is not allowed."""
        steps = self.every_step()
        r = core.rewards(self.scores_of(table, steps), objective)
        rewards = torch.zeros_like(table)
        last = steps.taken.sum(1) - 1
        rows = torch.arange(len(last))
        before, after = steps.state[rows, last], steps.state[rows, last + 1]
        rewards[before, steps.action[rows, last]] = r[rows, last]
        ends = ABSORBING[after]
        rewards[after[ends], 0] = r[ends, -1]  # the last column is the absorbing state's own reward
        return rewards

    def occupancy(self, policy, gamma):
        """Sum over t of gamma^t P(s_t = s, a_t = a), [S, A], from the empty string; absorbing states for ever."""
        step = torch.zeros(len(STATES), len(STATES))
        for s, a in self.legal.nonzero():
            step[s, self.next[s, a]] += policy[s, a]
        start = torch.eye(len(STATES))[0]
        return torch.linalg.solve(torch.eye(len(STATES)) - gamma * step.T, start)[:, None] * policy

    def empirical_occupancy(self, trajectories, gamma):
        """The data's own sum_t gamma^t [s_t = s, a_t = a], [S, A], a mean over trajectories, with absorbing tails."""
        count, steps = trajectories.action.shape
        weights = (gamma ** torch.arange(steps)).expand(count, steps) * trajectories.taken
        measure = torch.zeros(self.legal.shape)
        measure.index_put_((trajectories.state[:, :-1], trajectories.action), weights, accumulate=True)
        tail = gamma ** trajectories.taken.sum(1) / (1 - gamma)
        measure[:, 0].index_put_((trajectories.state[:, -1],), tail, accumulate=True)
        return measure / count
