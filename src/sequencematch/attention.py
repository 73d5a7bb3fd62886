"""The one place where a causal language model is called with a custom mask.

transformers accepts several pairs of attention implementation and mask that are silently wrong: a bool
mask under ``eager`` is added to the scores as 0 and 1; without a mask, repeating position ids are taken
for packed sequences; a dense mask under ``flex_attention`` corrupts memory on a CPU. So every
forward pass goes through ``hidden_states``, which gives each implementation the form it
understands and refuses the ones it does not know.
"""

import torch
from torch import Tensor

from sequencematch.errors import UserError


def attention_mask(allowed: Tensor, implementation: str, dtype: torch.dtype) -> Tensor:
    """The mask ``allowed`` (bool [B, Q, K], True where query may see key) as ``implementation`` reads it.

    Raises UserError for an implementation whose handling of dense masks is not known to be right.
    """
    if implementation == "sdpa":
        return allowed[:, None]
    if implementation == "eager":
        return torch.zeros_like(allowed, dtype=dtype).masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
    raise UserError(
        f"attention implementation '{implementation}' is not known to handle dense masks: use 'sdpa' or 'eager'"
    )


def hidden_states(lm, token: Tensor, position: Tensor, allowed: Tensor, cache=None) -> Tensor:
    """Last hidden states [B, Q, d] of a causal LM.

    token, position: int64 [B, Q]; allowed: bool [B, Q, K] with K = Q, or the cache's length where a
    ``cache`` (a transformers ``Cache``) is given.
    """
    mask = attention_mask(allowed, lm.config._attn_implementation, lm.dtype)
    decoder = lm.get_decoder()
    output = decoder(
        input_ids=token,
        position_ids=position,
        attention_mask=mask,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return output.last_hidden_state
