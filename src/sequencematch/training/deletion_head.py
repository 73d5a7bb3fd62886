"""A deletion head on a frozen network: which of its own likeliest tokens should be deleted?

At each place of an example, the network's likeliest few tokens x in the state s are candidates. Lookahead gives each
the value log pi(x|s) + weight * max_y log pi(y|s x), and the head adds log(1 - b(s x)), which it reads off the hidden
state after x. It is trained so that the best candidate is the example's own token: the errors are those that this
network makes. Its hidden states are computed once, nothing passes back through it, and log pi does not change. (Not in
the paper.)
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from sequencematch.core import Trajectory
from sequencematch.errors import UserError
from sequencematch.model.policy import Policy
from sequencematch.sampling.lookahead import FEW, WEIGHT
from sequencematch.sampling.rollout import eos_ids
from sequencematch.seeding import generator

# Tokens of examples that are read at most (of each, FEW hidden states are kept); passes over them, places per step,
# AdamW's learning rate.
TOKENS, EPOCHS, BATCH, RATE = 200_000, 6, 256, 3e-3


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Places of examples, N, with the K likeliest tokens at each, of which one is the example's own."""

    hidden: Tensor  # float32 [N, K, d], after each candidate
    value: Tensor  # float32 [N, K], by lookahead
    judged: Tensor  # bool [N, K], whether the head adds to it; False for what ends a sequence
    own: Tensor  # int64 [N], which one is the example's token

    def loss(self, policy: Policy, places: Tensor | slice = slice(None)) -> Tensor:
        """Mean -log of the probability of the example's token, candidates being as likely as exp(value)."""
        value = self.value[places] + policy.stays(self.hidden[places]) * self.judged[places]
        return F.cross_entropy(value, self.own[places])


@torch.no_grad()
def choices(policy: Policy, examples: Sequence[Trajectory], batch: int, weight: float = WEIGHT) -> Choices:
    """The places of clean examples at which the network's likeliest few tokens include the example's own.

    Two passes over each example: one finds the candidates, one reads them all as branches of a state tree.
    """
    found = [_choices(policy, examples[k : k + batch], weight) for k in range(0, len(examples), batch)]
    return Choices(**{name: torch.cat([vars(part)[name] for part in found]) for name in vars(found[0])})


def _choices(policy: Policy, examples: Sequence[Trajectory], weight: float) -> Choices:
    inputs, (states,) = policy.tree([[example] for example in examples])
    rows = torch.arange(len(examples), device=policy.device)[:, None]
    states = states.to(policy.device)
    log_policy = _log_policy(policy, policy.encode(inputs.to(policy.device))[rows, states.state[:, :-1]])
    few = log_policy.topk(FEW)
    among = (few.indices == states.action[..., None]).any(-1) & states.taken
    trees, nodes = zip(*map(_branched, examples, few.indices.tolist(), [policy.bkspc] * len(examples)), strict=True)
    inputs, (states,) = policy.tree([[tree] for tree in trees])
    hidden = policy.encode(inputs.to(policy.device))
    row, place = among.nonzero(as_tuple=True)
    places = list(zip(row.tolist(), place.tolist(), strict=True))
    index = row.new_tensor([nodes[b][t] for b, t in places]).view(-1, FEW)  # of places there may be none
    hidden = hidden[row[:, None], states.state.to(row.device)[row[:, None], index]]
    token = few.indices[row, place]
    judged = ~torch.isin(token, token.new_tensor(sorted(eos_ids(policy))))
    ahead = torch.stack([_log_policy(policy, h).amax(-1) for h in hidden.unbind(1)], 1)
    value = few.values[row, place] + weight * ahead * judged
    own = (token == token.new_tensor([examples[b].actions[t] for b, t in places])[:, None]).int().argmax(1)
    return Choices(hidden=hidden.float(), value=value, judged=judged, own=own)


def _log_policy(policy: Policy, hidden: Tensor) -> Tensor:
    return policy.preferences(hidden).log_softmax(-1)[..., : policy.bkspc]


def _branched(example: Trajectory, few: list[list[int]], bkspc: int) -> tuple[Trajectory, list[list[int]]]:
    """An example in which the other candidates are written and deleted first; after which action each one stands."""
    actions: list[int] = []
    after = []
    for token, candidates in zip(example.actions, few, strict=False):
        others = [x for x in candidates if x != token]
        written = {x: len(actions) + 2 * k + 1 for k, x in enumerate(others)}
        actions += [action for x in others for action in (x, bkspc)]
        actions.append(token)
        after.append([written.get(x, len(actions)) for x in candidates])
    return Trajectory(prompt=example.prompt, actions=actions, imitated=[True] * len(actions)), after


def train_head(
    policy: Policy, train: Sequence[Trajectory], validation: Sequence[Trajectory], seed: int, batch: int = 32
) -> list[dict]:
    """Give a policy a deletion head, trained on the first ``TOKENS`` of the clean examples ``train``.

    Returns the losses without it, then of each epoch. Raises UserError where no own token is among the likeliest.
    """
    policy.eval()
    policy.head = None
    read = [bisect_right([*accumulate(len(text.actions) for text in texts)], TOKENS) for texts in (train, validation)]
    learned, held_out = choices(policy, train[: read[0]], batch), choices(policy, validation[: read[1]], batch)
    if not (len(learned.own) and len(held_out.own)):
        raise UserError(
            f"no token of the examples is among the network's {FEW} likeliest, so a deletion head has nothing to "
            "choose between: train the network for more steps"
        )
    with torch.no_grad():
        rows = [{"loss": learned.loss(policy).item(), "validation_loss": held_out.loss(policy).item()}]
    torch.manual_seed(seed)
    policy.add_head()
    assert policy.head is not None
    optimiser = torch.optim.AdamW(policy.head.parameters(), lr=RATE, weight_decay=0.01)
    for epoch in range(EPOCHS):
        order = torch.from_numpy(generator(seed, "head", epoch).permutation(len(learned.own))).to(policy.device)
        losses = []
        for places in order.split(BATCH):
            optimiser.zero_grad()
            loss = learned.loss(policy, places)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        with torch.no_grad():
            validation_loss = held_out.loss(policy).item()
        rows.append({"loss": sum(losses) / len(losses), "validation_loss": validation_loss})
    return rows
