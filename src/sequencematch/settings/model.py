"""Settings of the network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sequencematch.settings.section import Section, setting


class Model(Section):
    """The network: a small Llama from scratch, or a pretrained causal LM."""

    source: str = setting("scratch", "'scratch', or the hub name or local path of any causal LM")
    revision: str = setting("main", "branch, tag or commit of a hub model")
    trust_remote_code: bool = setting(False, "run the Python code that comes with the model: read it first")
    layers: Annotated[int, Field(ge=1, le=2**10)] = setting(2, "transformer layers (scratch)")
    width: Annotated[int, Field(ge=1, le=2**17)] = setting(64, "hidden size (scratch)")
    heads: Annotated[int, Field(ge=1, le=2**10)] = setting(4, "attention heads (scratch)")
    context: Annotated[int, Field(ge=1, le=2**24)] = setting(128, "longest position (scratch)")
    initial_spread: float = setting(0.02, "standard deviation of the initial weights (scratch)", gt=0, le=1)
    rope_theta: float = setting(10_000.0, "base of the rotary position frequencies (scratch)", gt=0, le=1e12)
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "precision of the network's products (and of pretrained weights); the objective is float32"
    )
    quantise: Literal["none", "nf4"] = setting("none", "4-bit weights under the adapter (bitsandbytes)")
    lora_rank: Annotated[int, Field(ge=0, le=2**14)] = setting(0, "rank of LoRA adapters; 0 trains all weights")
    lora_alpha: Annotated[int, Field(ge=1, le=2**20)] = setting(16, "scale of LoRA adapters")
    gradient_checkpointing: bool = setting(False, "recompute activations in the backward pass")
    deletions: Annotated[int, Field(ge=1, le=64)] = setting(
        1, "most tokens that one action deletes: <bkspc> deletes one, <bkspc_2> two, ...; each has a row of weights"
    )

    @model_validator(mode="after")
    def _parts_fit(self):
        if self.source == "scratch" and self.width % (2 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of twice the heads ({self.heads})")
        if self.quantise != "none" and self.lora_rank == 0:
            raise ValueError("quantised weights cannot be trained: set lora_rank above 0 or quantise to none")
        return self
