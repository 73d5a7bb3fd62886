"""V and l(a|s) from hidden states without the matrix of all logits: the vocabulary is projected chunk by chunk.

A state has one value, and one logit for each action that was taken in it: none, one, or several, because ``<bkspc>``
leads back to a state. The backward pass projects each chunk again. The gradient of the logits is softmax times the
gradient of the value, plus the gradient of the logits of the actions taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sequencematch.core import StateIndex, logsumexp

# Bytes of logits per chunk: small enough for a core's cache, or for the memory of a GPU.
CHUNK = {"cpu": 2**20, "cuda": 2**28}


@dataclass(frozen=True)
class States:
    """The N different states of batches of trajectories over inputs [B, L], and the M actions taken in them."""

    node: Tensor  # int64 [N], places in the flattened inputs, ascending
    state: Tensor  # int64 [M], in which of the N states each action was taken, ascending
    action: Tensor  # int64 [M]
    index: list[Tensor]  # int64 [B, T+1] for each batch: which of the N are the states of its trajectories
    taken: list[Tensor]  # int64 [B, T] for each batch: which of the M are their actions

    @classmethod
    def of(cls, states: Sequence[StateIndex], length: int) -> "States":
        """The states of trajectories over inputs of ``length`` L."""
        row = torch.arange(len(states[0].state))[:, None] * length
        node, index = torch.cat([(column.state + row).flatten() for column in states]).unique(return_inverse=True)
        index = _split(index, [column.state for column in states])
        state = torch.cat([part[:, :-1].flatten() for part in index])
        action = torch.cat([column.action.flatten() for column in states])
        order = state.argsort()
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        return cls(node, state[order], action[order], index, _split(place, [column.action for column in states]))

    def live(self, states: Sequence[StateIndex], bkspc: int) -> Tensor:
        """int64 [N]: live tokens after the prompt in each state; the deletion of more is ruled out."""
        found = torch.zeros_like(self.node)
        for column, index in zip(states, self.index, strict=True):
            found[index] = column.live(bkspc).to(index.device)  # columns agree on the states that they share
        return found

    def to(self, device: torch.device) -> "States":
        """The same on ``device``."""
        lists = ([t.to(device) for t in tensors] for tensors in (self.index, self.taken))
        return States(self.node.to(device), self.state.to(device), self.action.to(device), *lists)


def _split(flat: Tensor, shapes: Sequence[Tensor]) -> list[Tensor]:
    parts = flat.split([tensor.numel() for tensor in shapes])
    return [part.view_as(tensor) for part, tensor in zip(parts, shapes, strict=True)]


def values_and_logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, action: Tensor, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """V = logsumexp of ``hidden @ weight.T + bias`` [N], and its entries at (state, action) [M].

    hidden: [N, d]; weight: [A, d]; bias: [A]; state: int64 [M], ascending; action: int64 [M], where A and above
    (deletions have no row here) is read as A - 1; ``chunk``: states projected at a time. Results are float32 (float64
    for float64 inputs), whatever the inputs' precision.
    """
    chunk = chunk or max(64, CHUNK.get(hidden.device.type, 2**20) // (4 * len(weight)))
    action = action.clamp_max(len(weight) - 1)
    starts = torch.arange(0, len(hidden) + chunk, chunk, device=state.device)
    bounds = torch.searchsorted(state, starts).tolist()
    return _Projection.apply(hidden, weight, bias, state, action, chunk, bounds)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, summed and returned in float32 (or float64), in one of the precisions that the factors have."""
    if a.dtype == b.dtype and a.dtype in (torch.float32, torch.float64):
        return a @ b
    if a.is_cuda:
        low = b.dtype if b.dtype in (torch.float16, torch.bfloat16) else a.dtype
        return torch.mm(a.to(low), b.to(low), out_dtype=torch.float32)
    return a.float() @ b.float()


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, state, action, chunk, bounds):
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        value, logit = hidden.new_empty(len(hidden), dtype=exact), hidden.new_empty(len(state), dtype=exact)
        ctx.chunk, ctx.bounds = chunk, bounds
        for rows, pairs in _chunks(ctx, len(hidden)):
            logits = _logits(hidden[rows], weight, bias)
            logit[pairs] = logits[state[pairs] - rows.start, action[pairs]]
            value[rows] = logsumexp(logits)
        ctx.save_for_backward(hidden, weight, bias, state, action)
        return value, logit

    @staticmethod
    def backward(ctx, grad_value, grad_logit):
        hidden, weight, bias, state, action = ctx.saved_tensors
        of_hidden, of_weight, of_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if of_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=grad_value.dtype) if of_weight else None
        grad_bias = torch.zeros_like(bias, dtype=grad_value.dtype) if of_bias else None
        for rows, pairs in _chunks(ctx, len(hidden)):
            grad = _logits(hidden[rows], weight, bias).softmax(1).mul_(grad_value[rows, None])
            grad.index_put_((state[pairs] - rows.start, action[pairs]), grad_logit[pairs], accumulate=True)
            if grad_hidden is not None:
                grad_hidden[rows] = _product(grad, weight)
            if grad_weight is not None:
                grad_weight += _product(grad.mT, hidden[rows])
            if grad_bias is not None:
                grad_bias += grad.sum(0)
        cast = (None if g is None else g.to(t.dtype) for g, t in ((grad_weight, weight), (grad_bias, bias)))
        return grad_hidden, *cast, None, None, None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = _product(hidden, weight.mT)
    return logits if bias is None else logits.add_(bias)


def _chunks(ctx, states: int):
    """Slices of the states and of the actions taken in them."""
    for k, start in enumerate(range(0, states, ctx.chunk)):
        yield slice(start, min(start + ctx.chunk, states)), slice(ctx.bounds[k], ctx.bounds[k + 1])
