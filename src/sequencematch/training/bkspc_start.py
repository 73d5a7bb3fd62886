"""The first values of the rows of deletions, when training continues from a policy without ``<bkspc>``."""

import math

import torch

from sequencematch import core
from sequencematch.model.policy import Policy
from sequencematch.training.batches import Corpus

EXAMPLES = 128  # validation examples that the row is fitted on
RIDGE = 1e-3  # of the mean square of the hidden states: keeps the row small in directions that no state has


def start_bkspc(policy: Policy, start: str, train: Corpus, validation: Corpus) -> None:
    """Set the rows in place.

    ``mean``: the mean of the trained rows of the vocabulary. ``noise``: rows for which the probability of each deletion
    is close to its share p in the imitated actions of the training data, in states of the validation data in which the
    expert does not delete. The logit must then be log(p / q) above the logsumexp of the vocabulary's logits, where q is
    the share that all deletions leave. A row is a least-squares fit of this to the hidden states. A deletion that the
    data do not have starts at the mean.
    """
    rows = [policy.lm.get_output_embeddings().weight.detach().float().mean(0)] * policy.deletions
    shares = bkspc_shares(train, policy.bkspc, policy.deletions)
    if start == "noise" and sum(shares) > 0:
        hidden, value = clean_states(policy, validation)
        ridge = RIDGE * len(hidden) * hidden.square().mean() * torch.eye(hidden.shape[1], device=hidden.device)
        for k, share in enumerate(shares):
            if share > 0:
                target = value + math.log(share / (1 - sum(shares)))
                rows[k] = torch.linalg.solve(hidden.T @ hidden + ridge, hidden.T @ target).float()
    with torch.no_grad():
        policy.bkspc_row.copy_(torch.stack(rows).view_as(policy.bkspc_row))


def bkspc_shares(corpus: Corpus, bkspc: int, deletions: int) -> list[float]:
    """The share of each deletion in the imitated actions of a corpus."""
    imitated = [a for draw in corpus.draws for t in draw for a, own in zip(t.actions, t.imitated, strict=True) if own]
    return [imitated.count(bkspc + k) / len(imitated) for k in range(deletions)]


@torch.no_grad()
def clean_states(policy: Policy, corpus: Corpus) -> tuple[torch.Tensor, torch.Tensor]:
    """The clean states in which a token is live and the expert does not delete.

    Returns their hidden states, float64 [N, d], and the logsumexp of their logits over the vocabulary, float64 [N].
    """
    policy.eval()
    hidden, value = [], []
    for trajectory in corpus.draws[0][:EXAMPLES]:
        inputs, (index,) = policy.tree([(trajectory,)])
        clean = index.taken & index.imitated & (index.action < policy.bkspc) & (index.live(policy.bkspc)[:, :-1] > 0)
        states = index.state[:, :-1][clean].to(policy.device)
        found = policy.encode(inputs.to(policy.device))[0, states]
        hidden.append(found.double())
        value.append(core.logsumexp(policy.preferences(found)[:, : policy.bkspc].double()))
    policy.train()
    return torch.cat(hidden), torch.cat(value)
