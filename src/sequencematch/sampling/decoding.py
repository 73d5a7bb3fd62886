"""From logits to an action: bias, temperature, rejection, top-k, top-p, min-p, and the draw itself."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NOTHING = torch.zeros(())  # in place of arguments that a decoding does not read


@dataclass(frozen=True)
class Decoding:
    """How actions are drawn from logits.

    These steps follow one another:

    - ``bkspc_bias`` is added to the logits of deletions; -inf rules them out.
    - ``surprise`` times -log pi(a|s) is added to them, too. Here a is the last live token, and s the state it was
      written in.
    - With ``takeback`` above 0, a is deleted exactly if pi(a|s) was below it, whatever the policy says of ``<bkspc>``.
      With ``takeback_ratio``, a is deleted if pi(a|s) was below that share of the probability of the likeliest token in
      s; with ``takeback_any_ratio``, if that holds of any live token. The policy need not have ``<bkspc>``.
    - With ``memory``, a token that was deleted after the live tokens before it is ruled out there.
    - With ``lookahead`` above 0, actions are those of ``lookahead.Lookahead``, and no other field is read.
    - Logits are divided by ``temperature``; 0 always takes the most likely action.
    - Tokens go through ``ideal_rejection`` at noise level ``rejection``; 0 is off.
    - The ``top_k`` most likely actions are kept; 0 keeps all.
    - Of these, the fewest that hold ``top_p`` of the mass are kept; 1 keeps all.
    - Of these, the ones at least ``min_p`` times as likely as the likeliest are kept; 0 keeps all.

    A trajectory is cut off after ``max_actions`` actions, including deletions.
    """

    max_actions: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    bkspc_bias: float = 0.0
    min_p: float = 0.0
    rejection: float = 0.0
    surprise: float = 0.0
    takeback: float = 0.0
    takeback_ratio: float = 0.0
    takeback_any_ratio: float = 0.0
    memory: bool = False
    lookahead: float = 0.0


def action_probabilities(
    logits: Tensor, ruled_out: Tensor, decoding: Decoding, surprise: Tensor = NOTHING, lag: Tensor = NOTHING
) -> Tensor:
    """The distribution over actions, float32 [n, A], that ``decoding`` makes of logits float32 [n, A].

    ruled_out: bool [n, K], which of the deletions, the last K columns, have probability 0: those of more tokens than
    are live (``too_many``).
    surprise: float32 [n], -log pi of the last live token. lag: float32 [n], the log of the likeliest token's pi over
    that of the last live token (with ``takeback_any_ratio``, the largest of all live tokens). Both are 0 where no token
    is live, and are read only where ``decoding`` needs them.
    """
    logits, bkspc = logits.clone(), logits.shape[1] - ruled_out.shape[1]
    logits[:, bkspc:] += decoding.bkspc_bias
    if decoding.surprise:
        logits[:, bkspc:] += decoding.surprise * surprise[:, None]
    for bar, measured in ((decoding.takeback, surprise), (decoding.takeback_ratio or decoding.takeback_any_ratio, lag)):
        if not bar:
            continue
        unlikely = measured > -math.log(bar)
        logits[:, bkspc:] = -torch.inf
        logits[unlikely, :bkspc] = -torch.inf
        logits[unlikely, bkspc] = 0.0
    logits[:, bkspc:].masked_fill_(ruled_out, -torch.inf)
    if decoding.temperature == 0:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(-1, keepdim=True), 1.0)
    logits /= decoding.temperature
    if decoding.rejection:
        logits[:, :bkspc] = ideal_rejection(logits[:, :bkspc], decoding.rejection)
    if 0 < decoding.top_k < logits.shape[1]:
        least = logits.topk(decoding.top_k).values[:, -1:]
        logits.masked_fill_(logits < least, -torch.inf)
    probability = logits.softmax(-1)
    if decoding.top_p < 1:
        ordered, order = probability.sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        ordered[:, 1:].masked_fill_(before[:, 1:] >= decoding.top_p, 0)
        probability = torch.zeros_like(ordered).scatter_(1, order, ordered)
        probability /= probability.sum(-1, keepdim=True)
    if decoding.min_p:
        probability[probability < decoding.min_p * probability.amax(-1, keepdim=True)] = 0
        probability /= probability.sum(-1, keepdim=True)
    return probability


def too_many(live: Tensor, deletions: int) -> Tensor:
    """bool [n, deletions]: whether the deletion of 1, 2, ... tokens is one of more than ``live`` int64 [n]."""
    return live[:, None] <= torch.arange(deletions, device=live.device)


def ideal_rejection(logits: Tensor, eta: float) -> Tensor:
    """Logits of tokens [n, V], as if unlikely tokens were deleted exactly as often as the training noise teaches.

    In data noised at level eta > 0, each true token is preceded with probability eta by a wrong token w ~ q, uniform
    over V tokens, which is then deleted. Let p(w) be the policy's probability of w in state s. Per visit of s, the
    state after w is entered by noise eta q(w) (1 - p(w)) times, and as the truth p(w) times. (Terms of order 1/V are
    neglected: a wrong token is drawn from V - 1.) So the share of its visits that are answered by ``<bkspc>`` is

        b(w) = eta q(w) (1 - p(w)) / (eta q(w) (1 - p(w)) + p(w)).

    A perfect imitator draws w from p and deletes it with probability b(w). The tokens that remain are distributed as
    p'(w), proportional to p(w) (1 - b(w)). This needs p alone, so a learned ``<bkspc>`` can be compared with it. The
    total probability of all tokens does not change. (Not in the paper; derived from sections 2 and 4.)
    """
    mass = logits.logsumexp(-1, keepdim=True)
    p = (logits - mass).exp()
    stays = p / (p + eta * (1 - p) / p.shape[-1])
    rejected = logits + stays.log()
    return rejected + (mass - rejected.logsumexp(-1, keepdim=True))


def inverse_cdf(probability: Tensor, uniform: Tensor) -> Tensor:
    """The action int64 [n] at which the cumulative probability [n, A] first exceeds uniform float64 [n].

    Actions of probability 0 are never drawn, if the uniforms are float32 numbers below 1: their product with the total
    is below the total in float64.
    """
    cumulated = probability.cumsum(-1, dtype=torch.float64)
    drawn = torch.searchsorted(cumulated, uniform[:, None] * cumulated[:, -1:], right=True)[:, 0]
    return drawn.clamp_max(probability.shape[-1] - 1)  # where probabilities are NaN, which the caller refuses
