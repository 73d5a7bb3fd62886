"""The one place where a causal language model is called with a mask of ours.

transformers accepts several pairs of attention implementation and mask that are silently wrong: a bool
mask under ``eager`` is added to the scores as 0 and 1; without a mask, repeating position ids are taken
for packed sequences; a dense mask under ``flex_attention`` corrupts memory on a CPU. So every
forward pass goes through ``hidden_states``, which gives each implementation the form it
understands and refuses the ones it does not know.

Networks that can are given an implementation of our own (``use_state_tree``). It reads what may be seen from an
argument of the decoder call, ``visible``, so that no mask of L x L entries need exist, and attends by one of two
kernels: ``Whole``, and on CPUs ``Blocks``. Layers that attend to a sliding window see the live tokens within it,
however many deleted ones lie between (``Sight.within``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sequencematch.core import Inputs
from sequencematch.errors import UserError

STATE_TREE = "state_tree"
ONE_CALL = 128  # nodes that are attended to in one call, on any device
CAUSAL_BLOCK = 128  # queries of one causal call: the kernel computes some of what is not causal, less in short calls
CPU_BLOCK = 64  # nodes that are deleted within this many pushes attend in blocks of this size, on a CPU

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def use_state_tree(lm) -> None:
    """Let a transformers network attend by ``attend``, if its family passes arguments on to the attention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if not lm._supports_attention_backend:
        return
    AttentionInterface.register(STATE_TREE, attend)
    AttentionMaskInterface.register(STATE_TREE, sdpa_mask)
    lm.set_attn_implementation(STATE_TREE)


def hidden_states(lm, inputs: Inputs, cache=None, embed: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Last hidden states [B, Q, d] of a causal LM at its ``inputs`` [B, Q].

    With a ``cache`` (a transformers ``Cache``) ``inputs.mask`` is [B, Q, K], K being the cache's length; it may be left
    out where all rows read from position 0 on, or the same position and Q = 1. embed: the embeddings of tokens, if not
    the network's own. Raises UserError as ``attention_mask`` does.
    """
    token, position = inputs.token, inputs.position
    options = {"past_key_values": cache, "use_cache": cache is not None}
    if lm.config._attn_implementation != STATE_TREE:
        mask = attention_mask(inputs.dense_mask(), lm.config._attn_implementation, lm.dtype)
        return _last(lm, token, position, embed, attention_mask=mask, **options)
    kernel = choose_kernel(inputs, lm.dtype)
    if isinstance(kernel, Blocks):
        token, position = (kernel.permuted(t) for t in (token, position))
    # A family that drops ``visible`` on its way meets a mask that fits no scores: it fails, and is not silently wrong.
    nothing = token.new_empty(0, 0, 0, 0, dtype=torch.bool)
    sight = Sight(inputs, kernel, lm.dtype, cached=cache is not None)
    hidden = _last(lm, token, position, embed, attention_mask=nothing, visible=sight, **options)
    return kernel.restored(hidden) if isinstance(kernel, Blocks) else hidden


def _last(lm, token: Tensor, position: Tensor, embed, **options) -> Tensor:
    given = {"input_ids": token} if embed is None else {"inputs_embeds": embed(token)}
    return lm.get_decoder()(**given, position_ids=position, **options).last_hidden_state


def attention_mask(allowed: Tensor, implementation: str, dtype: torch.dtype) -> Tensor:
    """The mask ``allowed`` (bool [B, Q, K], True where query may see key) as transformers' ``implementation`` reads it.

    Raises UserError for an implementation whose handling of dense masks is not known to be right.
    """
    if implementation == "sdpa":
        return allowed[:, None]
    if implementation == "eager":
        return _additive(allowed, dtype, torch.finfo(dtype).min)[:, None]
    raise UserError(f"attention '{implementation}' is not known to handle dense masks: use 'sdpa' or 'eager'")


def _additive(allowed: Tensor, dtype: torch.dtype, hidden: float = -torch.inf) -> Tensor:
    # Filled on the device: a number copied there would be refused in a CUDA graph.
    return torch.zeros_like(allowed, dtype=dtype).masked_fill_(~allowed, hidden)


def attend(module, query: Tensor, key: Tensor, value: Tensor, attention_mask, visible=None, **options):
    """Attention as transformers calls it: query [B, H, Q, w], key and value [B, h, K, w] with H a multiple of h.

    Returns [B, Q, H, w] and None. Without ``visible``, a call that is not ours, it is transformers' ``sdpa``.
    """
    window = options.get("sliding_window")
    if visible is None:
        kernel = Whole(attention_mask)
    elif window is None or key.shape[2] <= window:  # there are never more positions than keys
        kernel = visible.kernel
    else:
        kernel = visible.within(window, key.shape[2])
    return kernel.attend(module, query, key, value, options), None


@dataclass(frozen=True)
class Sight:
    """What the queries of one forward pass see: ``kernel``, or another kernel in layers with a sliding window."""

    inputs: Inputs
    kernel: "Whole | Blocks"
    dtype: torch.dtype
    cached: bool  # whether the keys are a cache's, at positions 0, 1, ...; otherwise they are the inputs themselves
    windows: dict[int, "Whole"] = field(default_factory=dict)

    def within(self, window: int, keys: int) -> "Whole":
        """The kernel for layers whose queries see no key ``window`` or more live tokens before their own.

        keys: their number, padding included. The mask is dense; it is made once for all layers of a window.
        """
        if window not in self.windows:
            position = self.inputs.position
            places = torch.arange(keys, device=position.device) if self.cached else position[:, None, :]
            distance = position[:, :, None] - places  # [B, Q, K], in push order
            plain = self.inputs.mask is None and self.inputs.end is None
            allowed = (distance >= 0 if plain else self.inputs.dense_mask()) & (distance < window)
            if isinstance(self.kernel, Blocks):
                allowed = self.kernel.permuted_mask(allowed)
            self.windows[window] = Whole(_additive(allowed, self.dtype)[:, None])
        return self.windows[window]


def choose_kernel(inputs: Inputs, dtype: torch.dtype) -> "Whole | Blocks":
    """The kernel of a forward pass: plain causal attention if nothing is ever deleted, one call for short inputs."""
    if inputs.mask is None and inputs.end is None:
        return Whole(None)
    if inputs.end is not None:
        end, length = inputs.end, inputs.end.shape[1]
        # Padding (end 0) is on the right, where no earlier position sees it.
        if bool((((end == length) | (end == 0)).all()) & (end.diff(dim=1) <= 0).all()):
            return Whole(None)
        if length > ONE_CALL and end.device.type == "cpu":
            return Blocks(end)
    return Whole(_additive(inputs.dense_mask(), dtype)[:, None])


@dataclass(frozen=True)
class Whole:
    """One call for all queries, under a dense mask [B, 1, Q, K], or causal if there is no mask."""

    mask: Tensor | None

    def attend(self, module, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        """Attention as transformers calls it: tensors [B, heads, L, d] to [B, L, heads, d]."""
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        mask = self.mask
        if mask is not None and mask.is_floating_point():
            mask = mask.to(query.dtype)
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]


def brief(end: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which nodes are brief (bool [B, L]), and the ends of all nodes; live nodes end far beyond the row.

    end: int64 [B, L] as in ``Inputs``. A node is brief if it is deleted within ``size`` pushes of its own push, unless
    it is deleted together with a node that is not brief. Padding is brief too. Whatever is pushed after a node is
    deleted no later than the node. So a node that is not brief sees no brief node.
    """
    length = end.shape[1]
    end = end.masked_fill(end == length, length + size)
    short = end - torch.arange(length, device=end.device) <= size
    long_deaths = end.new_zeros(len(end), length + size + 1).scatter_add_(1, end, (~short).long())
    return short & (long_deaths.gather(1, end) == 0), end


@dataclass(frozen=True)
class _Call:
    """Queries of a row that attend to some of the keys that they see. Over all calls, each of them is met once."""

    row: slice
    queries: slice
    keys: slice | Tensor  # their places
    causal: bool = False  # the keys are the queries' own
    mask: Tensor | None = None  # [1, 1, Q, n]


class Blocks:
    """Attention on a CPU: row by row, with calls without a mask wherever this is exact, whose outputs are combined.

    Nodes that are not brief come first, then brief ones, both in order of push: in push order, single deleted nodes
    would leave no block of keys that is seen as a whole. ``order``: [B, L], the push of each place.

    Nodes that are not brief are causal among themselves between two deletions (data nodes: up to the beginning of the
    rollout). Such a stretch sees all that is live before it, and itself. Brief nodes attend in blocks of ``size``,
    under a mask only for the keys that appear or disappear within the block. A key does so in at most two blocks, so
    the size of all masks together is linear in the length.
    """

    def __init__(self, end: Tensor, size: int = CPU_BLOCK):
        real = (end > 0).sum(1).tolist()
        short, end = brief(end, size)
        self.order = short.byte().argsort(dim=1, stable=True)
        self.place = self.order.argsort(dim=1)  # where each node went
        long = short.logical_not().sum(1).tolist()
        rows = zip(self.order.numpy(), end.gather(1, self.order).numpy(), long, real, strict=True)
        self.calls = [call for b, row in enumerate(rows) for call in _calls(slice(b, b + 1), *row, size)]

    def permuted(self, tensor: Tensor) -> Tensor:
        """[B, L] in the kernel's order."""
        return tensor.gather(1, self.order)

    def permuted_mask(self, mask: Tensor) -> Tensor:
        """bool [B, L, L] in the kernel's order."""
        rows = mask.gather(1, self.order[:, :, None].expand_as(mask))
        return rows.gather(2, self.order[:, None, :].expand_as(mask))

    def restored(self, hidden: Tensor) -> Tensor:
        """[B, L, d] in the inputs' order."""
        places = self.place + self.place.shape[1] * torch.arange(len(hidden))[:, None]
        return hidden.flatten(0, 1).index_select(0, places.flatten()).unflatten(0, places.shape)

    def attend(self, module, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        """Attention as transformers calls it: tensors [B, heads, L, d] to [B, L, heads, d]."""
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        return _BlockAttention.apply(query, key, value, options.get("scaling"), self.calls).transpose(1, 2)


def _calls(row: slice, push: np.ndarray, end: np.ndarray, long: int, real: int, size: int) -> Iterator[_Call]:
    """The calls of a row. Its first ``long`` nodes are not brief, and its first ``real`` nodes are not padding."""
    deaths = np.unique(end[:long])
    for a, b in _stretches(0, push[:long], deaths, real):
        for run in _runs(end[:a] > push[a]):
            yield _Call(row, slice(a, b), run)
        yield from _causal(row, a, b)
    for a, b in _stretches(long, push[long:real], deaths, size):
        queries = slice(a, b)
        pushes = push[queries]
        whole = (push <= pushes[0]) & (end > pushes[-1])
        whole[queries] = False  # under the mask, or a query might see none of the keys there
        (some,) = np.nonzero(~whole & (push <= pushes[-1]) & (end > pushes[0]))
        allowed = torch.from_numpy((push[some] <= pushes[:, None]) & (pushes[:, None] < end[some]))
        for run in _runs(whole):
            yield _Call(row, queries, run)
        yield _Call(row, queries, torch.from_numpy(some), mask=_additive(allowed, torch.float32)[None, None])


def _causal(row: slice, a: int, b: int) -> Iterator[_Call]:
    """Causal attention of the places from a to b, in halves: the later half sees the whole earlier half."""
    if b - a <= CAUSAL_BLOCK:
        yield _Call(row, slice(a, b), slice(a, b), causal=True)
        return
    middle = (a + b) // 2
    yield from _causal(row, a, middle)
    yield from _causal(row, middle, b)
    yield _Call(row, slice(middle, b), slice(a, middle))


def _stretches(first: int, push: np.ndarray, deaths: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """The places of nodes, pushed at ``push``, from ``first`` on: cut at each death, and into pieces of ``size``."""
    cuts = np.unique([0, *np.searchsorted(push, deaths), len(push)]).tolist()
    for start, stop in pairwise(cuts):
        for a in range(start, stop, size):
            yield first + a, first + min(a + size, stop)


def _runs(chosen: np.ndarray) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen, [0]))))
    return [slice(a, b) for a, b in edges.reshape(-1, 2).tolist()]


class _BlockAttention(torch.autograd.Function):
    """Attention of query, key, value [B, H, L, w] by ``Blocks``, with torch's own CPU kernel in each call.

    Parts of a softmax are combined by their logsumexps; gradients are sums over parts, by the logsumexp of the whole.
    """

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, scale: float | None, calls: list[_Call]) -> Tensor:
        out = torch.zeros_like(query)
        normaliser = out.new_full(out.shape[:3], -torch.inf, dtype=torch.promote_types(out.dtype, torch.float32))
        for call in calls:
            here, there = (call.row, slice(None), call.queries), (call.row, slice(None), call.keys)
            mask = None if call.mask is None else call.mask.to(query.dtype)
            part, of_part = _flash(query[here], key[there], value[there], 0.0, call.causal, attn_mask=mask, scale=scale)
            whole = torch.logaddexp(normaliser[here], of_part)
            share = (of_part - whole).exp_()[..., None].to(out.dtype)
            out[here] = torch.lerp(out[here], part, share)
            normaliser[here] = whole
        ctx.save_for_backward(query, key, value, out, normaliser)
        ctx.scale, ctx.calls = scale, calls
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        query, key, value, out, normaliser = ctx.saved_tensors
        gradients = grad_query, grad_key, grad_value = [torch.zeros_like(t) for t in (query, key, value)]
        for call in ctx.calls:
            here, there = (call.row, slice(None), call.queries), (call.row, slice(None), call.keys)
            mask = None if call.mask is None else call.mask.to(query.dtype)
            tensors = grad[here], query[here], key[there], value[there], out[here], normaliser[here]
            of_query, of_key, of_value = _flash_backward(*tensors, 0.0, call.causal, attn_mask=mask, scale=ctx.scale)
            grad_query[here] += of_query
            grad_key[there] += of_key
            grad_value[there] += of_value
        return *gradients, None, None
