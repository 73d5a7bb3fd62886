"""The one place where a causal language model is called with a mask of ours.

transformers accepts several pairs of attention implementation and mask that are silently wrong: a bool
mask under ``eager`` is added to the scores as 0 and 1; without a mask, repeating position ids are taken
for packed sequences; a dense mask under ``flex_attention`` corrupts memory on a CPU. So every
forward pass goes through ``hidden_states``, which gives each implementation the form it
understands and refuses the ones it does not know.

Networks that can are given an implementation of our own (``use_state_tree``). It reads what may be seen from an
argument of the decoder call, ``visible``, so that no mask of L x L entries need exist, and attends by one of three
kernels: ``Whole``, ``Blocks`` (CPU) and ``Flex`` (CUDA).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from sequencematch.core import Inputs
from sequencematch.errors import UserError

STATE_TREE = "state_tree"
BLOCK = 128  # nodes that Flex decides on together; up to so many are attended to in one call, on any device
CPU_BLOCK = 64  # nodes that Blocks decides on together

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def use_state_tree(lm) -> None:
    """Let a transformers network attend as ``attend`` does, where its family hands arguments on to the attention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if not lm._supports_attention_backend:
        return
    AttentionInterface.register(STATE_TREE, attend)
    AttentionMaskInterface.register(STATE_TREE, sdpa_mask)
    lm.set_attn_implementation(STATE_TREE)


def hidden_states(lm, inputs: Inputs, cache=None) -> Tensor:
    """Last hidden states [B, Q, d] of a causal LM at its ``inputs`` [B, Q].

    With a ``cache`` (a transformers ``Cache``) ``inputs.mask`` is [B, Q, K], K being the cache's length; it may be left
    out where all rows read from position 0 on, or the same position and Q = 1. Raises UserError for an attention
    implementation whose handling of dense masks is not known to be right.
    """
    token, position = inputs.token, inputs.position
    options = {"past_key_values": cache, "use_cache": cache is not None}
    if lm.config._attn_implementation != STATE_TREE:
        mask = attention_mask(inputs.dense_mask(), lm.config._attn_implementation, lm.dtype)
        return _last(lm, token, position, attention_mask=mask, **options)
    kernel = choose_kernel(inputs, lm.dtype)
    if isinstance(kernel, Flex):
        token, position = (kernel.permuted(t) for t in (token, position))
    # A family that drops ``visible`` on its way meets a mask that fits no scores: it fails, and is not silently wrong.
    nothing = token.new_empty(0, 0, 0, 0, dtype=torch.bool)
    hidden = _last(lm, token, position, attention_mask=nothing, visible=kernel, **options)
    return kernel.restored(hidden) if isinstance(kernel, Flex) else hidden


def _last(lm, token: Tensor, position: Tensor, **options) -> Tensor:
    return lm.get_decoder()(input_ids=token, position_ids=position, **options).last_hidden_state


def attention_mask(allowed: Tensor, implementation: str, dtype: torch.dtype) -> Tensor:
    """The mask ``allowed`` (bool [B, Q, K], True where query may see key) as transformers' ``implementation`` reads it.

    Raises UserError for an implementation whose handling of dense masks is not known to be right.
    """
    if implementation == "sdpa":
        return allowed[:, None]
    if implementation == "eager":
        return _additive(allowed, dtype, torch.finfo(dtype).min)[:, None]
    raise UserError(
        f"attention implementation '{implementation}' is not known to handle dense masks: use 'sdpa' or 'eager'"
    )


def _additive(allowed: Tensor, dtype: torch.dtype, hidden: float = -torch.inf) -> Tensor:
    return torch.where(allowed, *torch.tensor([0.0, hidden], dtype=dtype, device=allowed.device))


def attend(module, query: Tensor, key: Tensor, value: Tensor, attention_mask, visible=None, **options):
    """Attention as transformers calls it: query [B, H, Q, w], key and value [B, h, K, w] with H a multiple of h.

    Returns [B, Q, H, w] and None. Without ``visible``, a call that is not ours, it is transformers' ``sdpa``.
    """
    if visible is None:
        visible = Whole(attention_mask)
    return visible.attend(module, query, key, value, options), None


# --------------------------------------------------------------------------------------------------
# Kernels: made once per forward pass, used by every layer
# --------------------------------------------------------------------------------------------------


def choose_kernel(inputs: Inputs, dtype: torch.dtype) -> "Whole | Blocks | Flex":
    """The kernel for inputs: plain causal attention where nothing is ever deleted, one call where they are short."""
    if inputs.mask is None and inputs.end is None:
        return Whole(None)
    if inputs.end is not None:
        end, length = inputs.end, inputs.end.shape[1]
        # Padding (end 0) at the right is out of sight of all that stands before it.
        if bool((((end == length) | (end == 0)).all()) & (end.diff(dim=1) <= 0).all()):
            return Whole(None)
        if length > BLOCK and end.is_cuda:
            return Flex(end)
        if length > BLOCK and end.device.type == "cpu":
            return Blocks(end)
    return Whole(_additive(inputs.dense_mask(), dtype)[:, None])


@dataclass(frozen=True)
class Whole:
    """All in one call, under a dense mask [B, 1, Q, K]; without one, causal."""

    mask: Tensor | None

    def attend(self, module, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        mask = self.mask
        if mask is not None and mask.is_floating_point():
            mask = mask.to(query.dtype)
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]


def block_kinds(push: Tensor, end: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which blocks of keys a block of queries sees in part or whole (first), and which in whole (second).

    push, end: int64 [B, L], L a multiple of ``size``; query q sees key k where ``push[k] <= push[q] < end[k]``.
    Both are bool [B, queries' blocks, keys' blocks], from each block's least and greatest numbers; the first may be
    True where nothing is seen.
    """
    pushed, ended = (t.unflatten(1, (-1, size)) for t in (push, end))
    first, last = pushed.amin(-1)[:, :, None], pushed.amax(-1)[:, :, None]  # of queries
    earliest, latest = pushed.amin(-1)[:, None], pushed.amax(-1)[:, None]  # of keys
    seen = (earliest <= last) & (ended.amax(-1)[:, None] > first)
    return seen, (latest <= first) & (ended.amin(-1)[:, None] > last)


class Blocks:
    """On a CPU: one call per block of queries, on the keys that some query of it sees in some row.

    Half of the square is not causal, and data is dead to all of the rollout: neither is computed. A block's mask
    is made when the block is attended to, in either pass; so memory is linear in length.
    """

    def __init__(self, end: Tensor, size: int = CPU_BLOCK):
        length = end.shape[1]
        self.end = end.int()
        padded = F.pad(end, (0, -length % size))
        push = torch.arange(padded.shape[1], device=end.device).expand_as(padded)
        seen, _ = block_kinds(push, padded, size)
        self.groups: list[_Group] = []
        for i, row in enumerate(seen.any(0).tolist()):
            runs, queries = _runs(row, size, length), slice(size * i, min(size * (i + 1), length))
            if not (self.groups and self.groups[-1].grows_to(runs)):
                self.groups.append(_Group(runs, []))
            self.groups[-1].runs = runs
            self.groups[-1].parts.append((queries, sum(run.stop - run.start for run in runs)))

    def attend(self, module, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        return _BlockAttention.apply(query, key, value, options.get("scaling"), self).transpose(1, 2)


@dataclass
class _Group:
    """Blocks of queries whose keys differ in number alone: a block sees the first n that lie in the ``runs``.

    parts: the places of a block's queries, and n.
    """

    runs: list[slice]
    parts: list[tuple[slice, int]]

    def grows_to(self, runs: list[slice]) -> bool:
        """Whether ``runs`` begin with this group's."""
        return self.runs[:-1] == runs[: len(self.runs) - 1] and self.runs[-1].start == runs[-1].start

    def taken(self, tensor: Tensor, dim: int) -> Tensor:
        """The part of a tensor that lies in the runs; a view where there is but one."""
        parts = [tensor.narrow(dim, run.start, run.stop - run.start) for run in self.runs]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim)

    def masks(self, end: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, int, Tensor]]:
        """The parts, each with its additive mask [B, 1, Q, n]."""
        end = self.taken(end, 1)[:, None]
        for queries, n in self.parts:
            query = torch.arange(queries.start, queries.stop, dtype=end.dtype)[:, None]
            allowed = query < end[:, :, :n]
            allowed[:, :, queries.start - queries.stop :].tril_()  # the last keys are the queries themselves
            yield queries, n, _additive(allowed, dtype)[:, None]


def _runs(seen: list[bool], size: int, length: int) -> list[slice]:
    """Runs of places in the blocks that are ``seen``."""
    runs: list[slice] = []
    for block, wanted in enumerate(seen):
        if wanted and runs and runs[-1].stop == size * block:
            runs[-1] = slice(runs[-1].start, min(size * (block + 1), length))
        elif wanted:
            runs.append(slice(size * block, min(size * (block + 1), length)))
    return runs


class _BlockAttention(torch.autograd.Function):
    """Attention of query, key, value [B, H, L, w] by ``Blocks``; torch's own CPU kernel on each block."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, scale: float | None, blocks: Blocks) -> Tensor:
        out, normalisers = torch.empty_like(query), []
        for group in blocks.groups:
            k, v = group.taken(key, 2), group.taken(value, 2)
            for queries, n, mask in group.masks(blocks.end, query.dtype):
                out[:, :, queries], normaliser = _flash(
                    query[:, :, queries], k[:, :, :n], v[:, :, :n], attn_mask=mask, scale=scale
                )
                normalisers.append(normaliser)
        ctx.save_for_backward(query, key, value, out, *normalisers)
        ctx.scale, ctx.blocks = scale, blocks
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        query, key, value, out, *normalisers = ctx.saved_tensors
        remaining = iter(normalisers)
        grad_query, grad_key, grad_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for group in ctx.blocks.groups:
            k, v = group.taken(key, 2), group.taken(value, 2)
            grad_k, grad_v = torch.zeros_like(k), torch.zeros_like(v)
            for queries, n, mask in group.masks(ctx.blocks.end, query.dtype):
                grad_query[:, :, queries], of_k, of_v = _flash_backward(
                    *(grad[:, :, queries], query[:, :, queries], k[:, :, :n], v[:, :, :n]),
                    *(out[:, :, queries], next(remaining), 0.0, False),
                    attn_mask=mask,
                    scale=ctx.scale,
                )
                grad_k[:, :, :n] += of_k
                grad_v[:, :, :n] += of_v
            lengths = [run.stop - run.start for run in group.runs]
            for total, of_group in ((grad_key, grad_k), (grad_value, grad_v)):
                for run, piece in zip(group.runs, of_group.split(lengths, 2), strict=True):
                    total[:, :, run] += piece
        return grad_query, grad_key, grad_value, None, None


class Flex:
    """On CUDA: FlexAttention, whose block mask comes from each block's least and greatest numbers.

    Live nodes are moved before dead ones: in push order a dead node here and there would leave no block without a mask.
    Rows are padded to a multiple of the block, so that few lengths are compiled for.
    """

    def __init__(self, end: Tensor, size: int = BLOCK):
        from torch.nn.attention.flex_attention import BlockMask

        length = end.shape[1]
        end = end.masked_fill(
            end == length, length + size
        )  # the live stay so for the padding, which must see something
        end = F.pad(end, (0, -length % size))
        live = end == length + size
        self.order = torch.argsort(live.logical_not().byte(), dim=1, stable=True)  # [B, P]; its values are the pushes
        self.place = self.order.argsort(dim=1)[:, :length]  # where each node went
        self.length = length
        push, end = self.order, end.gather(1, self.order)
        seen, whole = block_kinds(push, end, size)

        def visible(b, h, q, k):
            return (push[b, k] <= push[b, q]) & (push[b, q] < end[b, k])

        self.block_mask = BlockMask.from_kv_blocks(
            *(*_indices(seen & ~whole), *_indices(whole)),
            BLOCK_SIZE=size,
            mask_mod=visible,
        )

    def permuted(self, tensor: Tensor) -> Tensor:
        """[B, L] in the kernel's order and padded, [B, P]."""
        return F.pad(tensor, (0, self.order.shape[1] - self.length)).gather(1, self.order)

    def restored(self, hidden: Tensor) -> Tensor:
        """[B, P, d] in the inputs' order, [B, L, d]."""
        return hidden.gather(1, self.place[..., None].expand(-1, -1, hidden.shape[-1]))

    def attend(self, module, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        out = _flex_attention(query.is_cuda)(
            query,
            key,
            value,
            block_mask=self.block_mask,
            scale=options.get("scaling"),
            enable_gqa=key.shape[1] != query.shape[1],
        )
        return out.transpose(1, 2).contiguous()


def _indices(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each block of queries chose, int32 [B, 1, n], and which: the first in [B, 1, n, n]."""
    order = chosen.logical_not().byte().argsort(dim=-1, stable=True)
    return chosen.sum(-1, dtype=torch.int32)[:, None], order.to(torch.int32)[:, None]


@lru_cache(maxsize=2)
def _flex_attention(compiled: bool):
    """FlexAttention, compiled once per shape; uncompiled it is slow and dense, for tests without a GPU."""
    from torch.nn.attention.flex_attention import flex_attention

    if not compiled:
        return flex_attention
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(flex_attention, dynamic=False)
