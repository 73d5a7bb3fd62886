"""How many parameters a network and its adapters have, counted on a network without weights.

The memory arithmetic of docs/paper_scale.md uses these numbers.
"""

from dataclasses import dataclass

import torch
from torch import nn

from sequencematch.settings.model import Model


@dataclass(frozen=True)
class Sizes:
    """Numbers of parameters.

    network: all of them; linear: those in the linear layers but the unembedding, which NF4 holds in 4 bits;
    adapters: those of LoRA on these layers (A of [rank, inputs] and B of [outputs, rank] each).
    """

    network: int
    linear: int
    adapters: int

    @property
    def other(self) -> int:
        """Embedding, unembedding and norms, which NF4 leaves in 16 bits."""
        return self.network - self.linear


def count_parameters(config, lora_rank: int) -> Sizes:
    """The sizes of the causal language model that a transformers configuration describes; no weight is made."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(config)
    head = lm.get_output_embeddings()
    layers = [module for module in lm.modules() if isinstance(module, nn.Linear) and module is not head]
    return Sizes(
        network=sum(parameter.numel() for parameter in lm.parameters()),
        linear=sum(layer.weight.numel() for layer in layers),
        adapters=sum(lora_rank * (layer.in_features + layer.out_features) for layer in layers),
    )


def of_pretrained(model: Model) -> Sizes:
    """The sizes of the pretrained network that ``model`` names. Raises OSError or ValueError where there is none."""
    from transformers import AutoConfig

    options = {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    return count_parameters(AutoConfig.from_pretrained(model.source, **options), model.lora_rank)
