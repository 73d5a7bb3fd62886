"""Settings of the noise injected into training data."""

from typing import Annotated, Literal

from pydantic import Field

from sequencematch.settings.section import Section, setting


class Noise(Section):
    """The wrong tokens that are injected into clean data."""

    kind: Literal["task", "random", "unigram", "model"] = setting("task", "where injected wrong tokens come from")
    run: Annotated[float, Field(ge=1)] | Literal["all"] = setting(
        1.0,
        "mean number of wrong tokens in a row (geometric), which as many <bkspc> follow; 1 is always one; all: to the "
        "end of the completion, or of what the model writes",
    )
    rest: Literal["random", "model"] = setting(
        "random", "the wrong tokens after the first: random (of the same kind) or model (the base model's continuation)"
    )
    draws: Annotated[int, Field(ge=1, le=1000)] = setting(
        2, "independent noisings of each example, used in turn by successive epochs"
    )

    @property
    def by_model(self) -> bool:
        """Whether a trained policy writes wrong tokens."""
        return "model" in (self.kind, self.rest)
