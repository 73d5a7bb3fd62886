"""The families of tasks: what sets one apart for the stages that every task goes through.

All else takes this from here. The settings of a family's data are a section of ``data.py``, its rows are made by the
script ``make_<family>``, and what a stage does for some families alone is a function in that stage. This module imports
nothing, so that a table does not depend on the settings of the data.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family by its properties."""

    scores: tuple[str, ...] = ()  # what is computed of every decoding, first the score that tables compare
    # Whether a prompt has one right completion, which ends in ``<eos>``; otherwise prompts and completions are passages
    # of fixed length without ``<eos>``, and a model judges what was written.
    reference: bool = True
    task_noise: bool = False  # whether it has noise of the kind 'task': wrong tokens of the sort that its answers have

    @property
    def score(self) -> str:
        """What tables compare; empty where a model judges instead."""
        return self.scores[0] if self.scores else ""

    @property
    def judged(self) -> bool:
        """Whether a model judges what was written, for want of a reference."""
        return not self.reference


FAMILIES = {
    "arithmetic": Family(scores=("accuracy",), task_noise=True),
    "graphs": Family(scores=("accuracy",), task_noise=True),
    "translation": Family(scores=("bleu", "chrf")),
    "text": Family(reference=False),
}
