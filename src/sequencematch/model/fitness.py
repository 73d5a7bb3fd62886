"""Whether a pretrained network does what the method asks of it: found out by trying, before any step is spent.

Any causal language model of transformers may be named, and not all of them heed a custom mask, position ids or a
rewound cache; some do to the logits what ``Policy.logits`` does not. All of that is silent.
"""

import torch

from sequencematch.core import Inputs
from sequencematch.errors import UserError
from sequencematch.model.cache import StateCache
from sequencematch.model.policy import Policy
from sequencematch.store.hub import FIT

# Largest error of a logit, in standard deviations of all of them: rounding, not a token more or less.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2}


def check_fitness(policy: Policy, source: str) -> None:
    """Raise UserError where ``policy``, of the network ``source``, reads a text with a deleted token wrongly.

    The text a b c is read by the network alone, as a state tree a x b c where x was deleted, and through a cache
    in which b overwrites x. All three must give the same logits at c.
    """
    a, x, b, c = (token % policy.bkspc for token in (5, 6, 7, 8))
    training = policy.training
    policy.eval()
    try:
        with torch.no_grad():
            expected = policy.lm(input_ids=_row(policy, a, b, c), use_cache=False).logits[0, -1].float()
            found = (_by_tree(policy, a, x, b, c), _by_cache(policy, a, x, b, c))
        error = max((logits - expected).abs().max() for logits in found) / expected.std()
        sound = error < TOLERANCE[policy.lm.dtype]
        problem = "" if sound else "its logits after a deletion are not those of the text that is left"
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as failure:
        problem = " ".join(str(failure).split())[:200] or type(failure).__name__
    finally:
        policy.train(training)
    if problem:
        raise UserError(
            f"the network of '{source}' ({policy.lm.config.model_type}) cannot be trained here ({problem}): choose one "
            f"that heeds attention masks, position ids and a rewound cache, and leaves its logits alone, as {FIT}"
        )


def _row(policy: Policy, *values: int) -> torch.Tensor:
    return torch.tensor([values], device=policy.device)


def _by_tree(policy: Policy, a: int, x: int, b: int, c: int) -> torch.Tensor:
    inputs = Inputs(_row(policy, a, x, b, c), _row(policy, 0, 1, 1, 2), end=_row(policy, 4, 2, 4, 4))
    return policy(inputs)[0, -1, : policy.bkspc]


def _by_cache(policy: Policy, a: int, x: int, b: int, c: int) -> torch.Tensor:
    # Beside it a row that took nothing back, one token longer, so that masks are needed.
    cache, rows = StateCache(policy, rows=2, length=4), slice(0, 2)
    for tokens, first in (((a, x), (0, 0)), ((b,), (1, 2)), ((c,), (2, 3))):
        cache.push(rows, _row(policy, *tokens).expand(2, -1), _row(policy, *first)[0])
    return cache.preferences(_row(policy, 0)[0], _row(policy, 2)[0])[0, : policy.bkspc]
