"""Tiny random policies, and what tests of rollouts share."""

import numpy as np
import torch

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.model.build import new_policy
from sequencematch.sampling.rollout import Decoding
from sequencematch.settings.model import Model

PAD, BOS, EOS = 0, 1, 2
SMALL = Model(layers=2, width=32, heads=2, context=48)
POPPING = Decoding(20, bkspc_bias=2.0)  # one action in ten to four takes another back


def randomised(policy, seed=0):
    """The policy with weights large enough that actions depend on the state, and pops are frequent."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in policy.parameters():
            if p.dim() > 1:
                p.normal_(0, 0.3)
        policy.bkspc_row.normal_(0, 0.3)
    return policy


def a_policy(vocabulary=12, backspace=True, seed=0, deletions=1, history="erase"):
    model = SMALL.model_copy(update={"deletions": deletions})
    policy = new_policy(model, vocabulary, {"bos": BOS, "eos": EOS, "pad": PAD}, backspace, seed)
    if history != "erase":
        policy.keep(history)
    return randomised(policy, seed)


def some_prompts(n, vocabulary=12, seed=0):
    rng = np.random.default_rng(seed)
    return [[BOS, *rng.integers(3, vocabulary, rng.integers(1, 9)).tolist()] for _ in range(n)]


def trajectories(prompts, rollouts):
    pairs = zip(prompts, rollouts, strict=True)
    return [[Trajectory(prompt=prompt, actions=r.actions, imitated=[True] * len(r.actions))] for prompt, r in pairs]


@torch.no_grad()
def next_logits(policy, text):
    """Logits [A] of the next action, from a pass over the whole text."""
    inputs, _ = core.state_tree([[Trajectory(prompt=text, actions=[], imitated=[])]], policy.bkspc)
    return policy(inputs)[0, -1]


@torch.no_grad()
def recomputed(policy, prompts, rollouts):
    """Without a cache: log pi [B, T] of the actions taken, and logits [A] of the states it was done in."""
    policy.eval()
    inputs, (batch,) = policy.tree(trajectories(prompts, rollouts))
    logits = policy(inputs)
    scores = core.score(logits, batch, policy.deletions)
    states = [[logits[b, s] for s in batch.state[b, : len(r.actions)]] for b, r in enumerate(rollouts)]
    return scores.log_policy, states


def enumerated(policy, prompt, decoding):
    """Exact probabilities of all action sequences, from forward passes over whole texts without a cache."""
    table = {}

    def extend(actions, live, probability):
        if len(actions) == decoding.max_actions or (actions and actions[-1] == EOS):
            table[actions] = probability
            return
        logits = next_action[live].clone()
        if live:
            written = next_action[live[:-1]].log_softmax(0)[live[-1]]
            logits[policy.bkspc :] += decoding.bkspc_bias - decoding.surprise * written
        logits[policy.bkspc + len(live) :] = -torch.inf
        for action, p in enumerate(torch.softmax(logits / decoding.temperature, 0).tolist()):
            if p > 0:
                after = (*live, action) if action < policy.bkspc else live[: core.growth(action, policy.bkspc)]
                extend((*actions, action), after, probability * p)

    texts = [()]
    for _ in range(decoding.max_actions - 1):
        texts += [(*t, token) for t in texts for token in range(policy.bkspc) if (*t, token) not in texts]
    inputs, (batch,) = core.state_tree(
        [[Trajectory(prompt=prompt, actions=t, imitated=[True] * len(t))] for t in texts], policy.bkspc
    )
    with torch.no_grad():
        logits = policy(inputs).double()
    next_action = {t: logits[b, batch.state[b, -1]] for b, t in enumerate(texts)}
    extend((), (), 1.0)
    return table


def chi_square_p(observed, expected):
    """Upper tail of Pearson's statistic; cells expected fewer than 5 times are pooled."""
    total = sum(observed.values())
    large = {cell: p * total for cell, p in expected.items() if p * total >= 5}
    pairs = [(observed[cell], e) for cell, e in large.items()]
    if len(large) < len(expected):
        pairs.append((total - sum(o for o, _ in pairs), total - sum(large.values())))
    freedom, statistic = len(pairs) - 1, sum((o - e) ** 2 / e for o, e in pairs)
    return torch.special.gammaincc(*torch.tensor([freedom / 2, statistic / 2]).double()).item()
