"""Random trajectories with mistakes and repairs, and tiny networks."""

import random
from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import nn
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

from sequencematch.core import Inputs, Trajectory
from sequencematch.model.attention import hidden_states
from sequencematch.model.policy import Policy

BOS, EOS, BKSPC = 1, 2, 8  # BKSPC is also the size of the vocabulary
TOKENS = range(3, BKSPC)


def random_trajectory(
    rng: random.Random, prompt: Sequence[int] | None = None, longest: int = 14, deletions: int = 1
) -> Trajectory:
    """A walk that pushes and pops, often several times running and down to the prompt.

    A pop deletes up to ``deletions`` tokens. Most walks end with <eos>; the others are cut off.
    """
    prompt = prompt or [BOS, *rng.choices(TOKENS, k=rng.randrange(4))]
    actions, depth = [], 0
    for _ in range(rng.randrange(longest)):
        pop = depth > 0 and rng.random() < 0.4
        count = rng.randint(1, min(depth, deletions)) if pop and deletions > 1 else 1
        actions.append(BKSPC + count - 1 if pop else rng.choice(TOKENS))
        depth += -count if pop else 1
    ended = rng.random() < 0.8
    if ended:
        actions.append(EOS)
    return Trajectory(prompt=prompt, actions=actions, imitated=[rng.random() < 0.8 for _ in actions], ended=ended)


def random_row(rng: random.Random, trajectories: int = 2, deletions: int = 1) -> list[Trajectory]:
    """StateIndex that share their prompt: data, then rollouts."""
    first = random_trajectory(rng, deletions=deletions)
    return [first, *(random_trajectory(rng, first.prompt, deletions=deletions) for _ in range(trajectories - 1))]


def noised_trajectories(deletions: int = 3):
    """``random_trajectory`` for hypothesis, which shrinks the random choices."""
    return st.builds(random_trajectory, st.randoms(use_true_random=False), deletions=st.integers(1, deletions))


def tiny_llama(vocabulary: int = BKSPC, implementation: str = "sdpa", **settings) -> LlamaForCausalLM:
    """A Llama whose weights are large enough for every token it attends to to matter."""
    torch.manual_seed(0)
    sizes = {"vocab_size": vocabulary, "hidden_size": 16, "intermediate_size": 24, "max_position_embeddings": 64}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
    return LlamaForCausalLM(LlamaConfig(attn_implementation=implementation, **(sizes | settings)))


def tiny_policy(deletions: int = 1) -> Policy:
    """A float32 policy with ``<bkspc>`` whose offset head is not at its initial zero."""
    policy = Policy(tiny_llama(), backspace=True, deletions=deletions)
    if deletions > 1:
        nn.init.normal_(policy.bkspc_row, std=0.3)
    for parameter in policy.offset.parameters():
        nn.init.normal_(parameter, std=0.5)
    return policy


class ExactNetwork(nn.Module):
    """A float64 Llama with one more output for ``<bkspc>``: logits [B, L, BKSPC + 1] of ``Inputs``."""

    def __init__(self):
        super().__init__()
        self.lm = tiny_llama(BKSPC + 1)
        layers = self.lm.model.layers
        for parent in [self.lm.model, *layers]:
            for name, module in list(parent.named_children()):
                if type(module).__name__ == "LlamaRMSNorm":  # it computes in float32, whatever its input
                    setattr(parent, name, nn.RMSNorm(module.weight.shape, eps=module.variance_epsilon))
        self.double()

    def forward(self, inputs: Inputs) -> torch.Tensor:
        return self.lm.lm_head(hidden_states(self.lm, inputs))
