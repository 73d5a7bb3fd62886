"""Noise of the kind ``model``: wrong tokens as likely as a trained policy finds them (section G.2)."""

from pathlib import Path

import torch

from sequencematch.core import Trajectory, state_tree
from sequencematch.data.noise import Weights, never_written
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.errors import UserError
from sequencematch.model.build import load_policy, on_accelerator
from sequencematch.model.policy import Policy


def proposer(tokenizer: Tokenizer, policy: Path | None) -> Policy:
    """The policy in a folder, without ``<bkspc>``. Raises UserError without one, or if its vocabulary is another."""
    if policy is None:
        raise UserError("noise that a model writes needs a trained policy: name its folder (--policy)")
    network = on_accelerator(load_policy(policy, backspace=False)[0]).eval()
    if network.bkspc < tokenizer.size:
        raise UserError(
            f"the policy in '{policy}' knows {network.bkspc} tokens and the tokenizer {tokenizer.size}: "
            "they belong to different data; name a policy trained with this tokenizer (--policy)"
        )
    return network


def model_noise(tokenizer: Tokenizer, policy: Path | None) -> Weights:
    """Tokens as likely as the policy in a folder finds them after the true ones. Raises UserError as ``proposer``."""
    network = proposer(tokenizer, policy)
    struck_out = never_written(tokenizer)

    @torch.no_grad()
    def weights(batch):
        rows = [[Trajectory(prompt=e.prompt, actions=e.completion, imitated=[True] * len(e.completion))] for e in batch]
        inputs, (states,) = state_tree(rows, bkspc=network.bkspc)
        inputs = inputs.to(network.device)
        hidden = network.encode(inputs)
        # One example after the other: the logits of many at once would fill the memory.
        for e, nodes, h, position in zip(batch, states.state, hidden, inputs.position, strict=True):
            before = nodes[: len(e.completion)]
            logits = network.logits(h[before], position[before])[:, : tokenizer.size]
            # The true token goes out before the softmax: a sure policy would leave the others nothing to share.
            logits.scatter_(1, torch.tensor(e.completion, device=logits.device)[:, None], -torch.inf)
            logits[:, struck_out] = -torch.inf
            yield logits.softmax(-1).cpu().numpy()

    return weights
