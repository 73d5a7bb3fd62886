"""Settings of the noise injected into training data."""

from typing import Literal

from sequencematch.settings.section import Count, Section, setting


class Noise(Section):
    """The wrong tokens that are injected into clean data."""

    kind: Literal["task", "random", "unigram", "model"] = setting("task", "where injected wrong tokens come from")
    run: float = setting(
        1.0, "mean length of a run of wrong tokens (geometric), which as many <bkspc> follow; 1 is always one", ge=1
    )
    draws: Count = setting(2, "independent noisings of each example, used in turn by successive epochs")
