"""A rewindable cache: many stacks of tokens, each at its own depth, with all states of each stack kept.

A stack's entry at position p (keys, values, hidden state) depends only on the tokens up to p. So a deletion needs no
work here: the caller goes back to a lower depth, whose hidden state is still there, and the next push overwrites the
entry above it. The caches of transformers can only rewind all rows by the same number of tokens, or none.
"""

from functools import partial

import torch
from torch import Tensor
from transformers.cache_utils import Cache, StaticLayer

from sequencematch.core import Inputs


class _Layer(StaticLayer):
    """Keys and values of one attention layer, [rows, H, length, w], written at each row's own positions."""

    def __init__(self, whole: "StateCache"):
        super().__init__(max_cache_len=whole.length)
        self.whole = whole

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        # Zeros: masked entries have weight 0, but 0 times uninitialised memory may be NaN.
        shapes = [(self.whole.rows, s.shape[1], self.max_cache_len, s.shape[3]) for s in (key_states, value_states)]
        self.keys, self.values = (key_states.new_zeros(shape) for shape in shapes)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self.whole.written(self.keys, key_states), self.whole.written(self.values, value_states)


class StateCache(Cache):
    """The states of up to ``rows`` stacks of at most ``length`` tokens, for one policy.

    The caller keeps depths and assigns rows. A forward pass writes at ``index`` of ``pushed``, read up to ``depth``.
    """

    def __init__(self, policy, rows: int, length: int):
        self.policy, self.rows, self.length = policy, rows, length
        self.hidden: Tensor | None = None  # [rows, 1, length, d], laid out as keys and values are
        self.pushed, self.depth = slice(0), 0
        self.index: tuple = ()
        super().__init__(layer_class_to_replicate=partial(_Layer, self))

    def written(self, store: Tensor, states: Tensor) -> Tensor:
        """Write states [n, H, Q, w] into store [rows, H, length, w]; the content of the n rows up to the depth."""
        rows = store[self.pushed].transpose(1, 2)
        rows[self.index] = states.transpose(1, 2)
        if self.depth == states.shape[2]:  # all of it was just written
            return states
        return rows[:, : self.depth].transpose(1, 2)

    def push(self, rows: slice, token: Tensor, first: Tensor, position: Tensor | None = None) -> None:
        """One forward pass: token int64 [n, Q] become the entries of ``rows`` at places first int64 [n] and after.

        position: the tokens' positions int64 [n, Q], if they are not their places. Each token sees the entries of its
        row at or below its own place. Padding is on the right: the entries that it leaves above a row's depth are never
        seen, and later pushes overwrite them.
        """
        device, length = token.device, token.shape[1]
        index = first[:, None] + torch.arange(length, device=device)
        position = index if position is None else position
        lowest, highest = torch.stack(first.aminmax()).tolist()
        self.pushed, self.depth, allowed = rows, highest + length, None
        if lowest == highest and (length == 1 or lowest == 0):  # no mask, written in one piece
            self.index = (slice(None), slice(lowest, self.depth))
        else:
            self.index = torch.arange(len(first), device=device)[:, None], index
            allowed = torch.arange(self.depth, device=device) <= index[..., None]
        hidden = self.policy.encode(Inputs(token=token, position=position, mask=allowed), self)[:, None]
        if self.hidden is None:
            self.hidden = hidden.new_zeros(self.rows, 1, self.length, hidden.shape[-1])
        self.written(self.hidden, hidden)

    def preferences(self, rows: Tensor, position: Tensor) -> Tensor:
        """l(a|s) of each state up to a constant, float32 [n, A], at rows and positions int64 [n]. No forward pass."""
        assert self.hidden is not None, "push comes first"
        return self.policy.preferences(self.hidden[rows, 0, position])

    def stays(self, rows: Tensor, position: Tensor) -> Tensor:
        """``Policy.stays`` of each state, float32 [n], at rows and positions int64 [n]. No forward pass."""
        assert self.hidden is not None, "push comes first"
        return self.policy.stays(self.hidden[rows, 0, position])

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copy the stacks in rows ``source`` to rows ``target``, both int64 [n]."""
        for store in (self.hidden, *(s for layer in self.layers for s in (layer.keys, layer.values))):
            store[target] = store[source]
