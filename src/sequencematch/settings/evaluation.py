"""Settings of the evaluation: how models are sampled, and what is measured of the samples."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sequencematch.settings.decoding_names import KNOWN, decoding_options
from sequencematch.settings.section import Count, Natural, Section, Size, distinct, setting


class Evaluation(Section):
    """How a trained policy is sampled and judged."""

    split: Literal["validation", "test"] = setting(
        "test", "which split is sampled; tables read test, tuning validation"
    )
    batch: Size = setting(128, "sequences decoded side by side")
    max_actions: Count = setting(24, "actions after which a sequence is cut off, backspaces included")
    decodings: tuple[str, ...] = setting(
        ("sampled", "greedy", "perturbed=0.05", "perturbed=0.1"),
        f"how completions are decoded: {KNOWN}; several joined by '+', as greedy+lookahead=0.75",
        min_length=1,
    )
    answers: Annotated[int, Field(ge=1, le=9)] = setting(
        1, "independent answers drawn to each question by decodings that draw; scores are their means (no text)"
    )
    corruptions: tuple[Literal["task", "random", "unigram", "model"], ...] = setting(
        ("random", "model"), "kinds of noise whose repair is measured"
    )
    error_depths: tuple[Natural, ...] = setting(
        (0, 1, 2, 4, 8),
        "tokens pushed after a wrong first token before decoding may take it back; none: not measured",
    )
    error_decodings: tuple[str, ...] = setting(
        ("greedy", "greedy+takeback_ratio=0.3"), "decodings that follow them; names as in decodings"
    )
    error_kind: Literal["training", "model"] = setting(
        "training", "the wrong first tokens: of the training noise, or likely ones of the base model"
    )
    shown: Natural = setting(
        5, "first examples shown in full, the last token of their prompt replaced by a random one (text)"
    )
    judge: str = setting(
        "", "hub name or path of the causal LM that judges text; empty: the MLE model of the next seed (text)"
    )

    @field_validator("decodings", "error_decodings")
    @classmethod
    def _are_decodings(cls, names, field: ValidationInfo):
        searches = [name for name in names if "beams" in decoding_options(name)]
        if searches and field.field_name == "error_decodings":
            raise ValueError(f"'{searches[0]}' does not follow a wrong token: a beam search deletes nothing")
        return names

    _distinct = field_validator("decodings", "corruptions", "error_depths", "error_decodings")(distinct)

    @property
    def uses_training_noise(self) -> bool:
        """Whether wrong tokens of the training noise's kind are written into what models emit."""
        return any("perturbed" in decoding_options(name) for name in self.decodings) or bool(self.error_depths)
