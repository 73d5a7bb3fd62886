"""A deletion head for any causal LM of transformers, which its own ``generate`` then reads."""

import warnings
from collections.abc import Iterable, Mapping

from torch import Tensor

from sequencematch.core import Trajectory
from sequencematch.data.tokenizer import tokenizer_of
from sequencematch.errors import UserError
from sequencematch.model.build import policy_of
from sequencematch.sampling.rollout import eos_ids
from sequencematch.training.deletion_head import train_head
from sequencematch.transformers_trainer.rows import RowEncoder

HELD_OUT = 10  # the first of so many rows is not trained on


def train_deletion_head(
    model, rows: Iterable[str | Mapping], processing_class, seed: int = 0, batch: int = 8
) -> dict[str, Tensor]:
    """Train a deletion head on a network that does not change: which of its likeliest tokens should be deleted?

    model: a causal LM of transformers, or a LoRA model of peft. Only its rates of dropout change: they are 0 after it.
    rows: texts, or mappings with ``prompt`` and ``completion``, two texts or two lists of messages (TRL's formats), of
    which the completion counts. processing_class: the model's fast tokenizer. batch: rows that are read at a time.

    Returns the head's tensors, float32 ``0.weight`` [d // 2, d], ``0.bias`` [d // 2], ``2.weight`` [1, d // 2] and
    ``2.bias`` [1] with d numbers in a hidden state, as ``generate`` takes them (``deletion_head=``). Warns where the
    head does not help on rows that it was not trained on. Raises UserError where the model does not fit the method or
    has learned ``<bkspc>``, where a row exceeds its context, and where its likeliest tokens never include the rows'.
    """
    name, config = type(model).__name__, model.config
    if getattr(config, "bkspc_token_id", None) is not None:
        raise UserError(f"{name} has learned <bkspc>: a deletion head is for networks that have not, choose another")
    pairs = [{"prompt": "", "completion": row} if isinstance(row, str) else row for row in rows]
    ends, attention = config.eos_token_id, config._attn_implementation
    try:
        policy = policy_of(model, name, processing_class.eos_token_id, backspace=False)
        special = tokenizer_of(processing_class, policy).special_ids
        encoder = RowEncoder(processing_class, special["bos"], special["eos"], policy.bkspc, eos_ids(policy))
        found = [(example.prompt, example.completion) for example in encoder.examples(pairs, policy.context)]
        config.eos_token_id = sorted(encoder.ends)  # a chat template may end its turns by a token of its own
        texts = [Trajectory(prompt=p, actions=a, imitated=[True] * len(a)) for p, a in found]
        train = [text for k, text in enumerate(texts) if k % HELD_OUT]
        if not train:
            raise UserError("a deletion head needs at least two rows: the first of each ten is held out")
        without, *_, last = train_head(policy, train, texts[::HELD_OUT], seed, batch)
    finally:
        config.eos_token_id = ends
        model.set_attn_implementation(attention)
    loss, before = (losses["validation_loss"] for losses in (last, without))
    if loss >= before:
        warnings.warn(
            f"the deletion head does not help on held-out rows (its loss is {loss:.4f}, and {before:.4f} without it): "
            "give more rows, or leave it out",
            stacklevel=2,
        )
    assert policy.head is not None
    return {name: tensor.detach().cpu() for name, tensor in policy.head.state_dict().items()}
