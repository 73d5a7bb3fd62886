"""From logits to an action: temperature, top-k, top-p, and the draw itself."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Decoding:
    """How actions are drawn from logits, in this order: ``bkspc_bias`` is added to the logit of
    ``<bkspc>``; logits are divided by ``temperature`` (0: the most likely action, always); the ``top_k``
    most likely actions are kept (0: all); of these the fewest that hold ``top_p`` of the mass (1: all).
    A trajectory is cut off after ``max_actions`` actions, pushes and pops alike.
    """

    max_actions: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    bkspc_bias: float = 0.0


def action_probabilities(logits: Tensor, at_prompt: Tensor, decoding: Decoding) -> Tensor:
    """The distribution over actions, float32 [n, A], that ``decoding`` makes of logits float32 [n, A].

    at_prompt: bool [n], True where no token is left to remove: ``<bkspc>``, the last column, has
    probability 0 there.
    """
    logits = logits.clone()
    logits[:, -1] += decoding.bkspc_bias
    logits[:, -1].masked_fill_(at_prompt, -torch.inf)
    if decoding.temperature == 0:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(-1, keepdim=True), 1.0)
    logits /= decoding.temperature
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
    return probability


def inverse_cdf(probability: Tensor, uniform: Tensor) -> Tensor:
    """The action int64 [n] at which the cumulated probability [n, A] first exceeds uniform float64 [n].

    Actions of probability 0 are never drawn, provided that uniforms are float32 numbers below 1: then their
    product with the total lies below the total, in float64.
    """
    cumulated = probability.double().cumsum(-1)
    return torch.searchsorted(cumulated, uniform[:, None] * cumulated[:, -1:], right=True)[:, 0]
