"""Settings of the measurements of what steps and sampling cost."""

import math
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from sequencematch.errors import UserError
from sequencematch.settings.model import Model
from sequencematch.settings.section import Count, Rate, Section, setting

# What an overhead table can measure: steps and generations, and parts together with what they replace.
MEASUREMENTS = ("steps", "growth", "masking", "projection", "sampling", "concurrent")


class Overhead(Section):
    """A measurement of what steps and sampling cost (docs/overheads.md)."""

    geometries: tuple[str, ...] = setting(
        ("256+768", "256+256"), "lengths of a sequence, prompt + continuation, in tokens", min_length=1
    )
    batch: Count = setting(1, "sequences per gradient step, all in one forward pass")
    generate: Count = setting(2, "sequences per generation (G)")
    seen: Count = setting(8, "times each rollout is trained on; a generation serves G * seen / batch steps")
    eta: Rate = setting(0.2, "noise level of the data")
    pops: float = setting(0.1, "share of <bkspc> among the actions of a rollout", gt=0, lt=0.5)
    vocabulary: Annotated[int, Field(ge=8, le=2**24)] = setting(1024, "tokens, 3 special ones included (scratch)")
    repeats: Count = setting(7, "gradient steps timed of each row, the rows in turn")
    sampling_repeats: Count = setting(3, "generations timed of each row")
    contexts: tuple[Count, ...] = setting((), "lengths over which a step's cost is followed, a quarter of them prompt")
    batches: tuple[Count, ...] = setting((), "batches over which it is followed, at the shortest of these lengths")
    masked: tuple[Count, ...] = setting((), "lengths at which the state tree is compared with Algorithm 2")

    parts: tuple[Literal["projection", "sampling", "concurrent"], ...] = setting(
        (), "parts held against what they replace: all logits at once, transformers' generate, rollouts between steps"
    )

    @classmethod
    def group(cls) -> str:
        """``measured``, as the configuration names it."""
        return "measured"

    @field_validator("geometries")
    @classmethod
    def _are_geometries(cls, values):
        for value in values:
            parse_geometry(value)
        return values

    @field_validator("contexts", "masked")
    @classmethod
    def _have_room(cls, values):
        if any(value < 8 for value in values):
            raise ValueError(f"{min(values)} tokens are too few to tell anything: give lengths of 8 or more")
        return values

    @property
    def steps_per_sample(self) -> float:
        """Gradient steps that one generation serves: G * seen / B."""
        return self.generate * self.seen / self.batch

    @property
    def longest(self) -> int:
        """Positions that the longest sequence takes. A generation needs room for deleted tokens too."""
        pairs = [parse_geometry(geometry) for geometry in self.geometries]
        lengths = [prompt + longest_rollout(continuation, self.pops) for prompt, continuation in pairs]
        return max(*lengths, *self.contexts, *self.masked, 0)

    def check_fits(self, model: Model) -> None:
        """Raises UserError if a network from scratch has too short a context."""
        if model.source == "scratch" and self.longest > model.context:
            raise UserError(
                f"sequences take up to {self.longest} positions (deleted tokens, contexts and masked included), and "
                f"the model has {model.context} (context): raise it, or shorten them"
            )


def longest_rollout(continuation: int, pops: float) -> int:
    """Actions that leave as many tokens as the continuation has, with a share ``pops`` of deletions."""
    return math.ceil(continuation / (1 - 2 * pops))


def parse_geometry(text: str) -> tuple[int, int]:
    """(256, 768) for '256+768'. Raises ValueError where it is no such pair of lengths."""
    found = re.fullmatch(r"(\d+) ?\+ ?(\d+)", text)
    if not found or min(map(int, found.groups())) < 1:
        raise ValueError(f"'{text}' is no geometry: write lengths of prompt and continuation as 256+768")
    return int(found[1]), int(found[2])
