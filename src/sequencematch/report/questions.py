"""The first examples of a task and what was typed in answer, deletions visible: nothing is picked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from markupsafe import Markup

from sequencematch.data.examples import load_examples
from sequencematch.data.tokenizer import Tokenizer, load_tokenizer
from sequencematch.scores.deletions import pieces
from sequencematch.scores.runs import Run, evaluated_split, read_records
from sequencematch.tables.showcase import marked
from sequencematch.tables.wording import eta_label

SHOWN = 4  # questions of a task


@dataclass(frozen=True)
class Answer:
    """What one variant typed, in the order typed, and how that was scored ('' where it was not)."""

    label: str
    eta: str
    typed: Markup
    outcome: str


@dataclass(frozen=True)
class Question:
    """A prompt, its reference completion, and every variant's answer."""

    prompt: str
    solution: str
    answers: list[Answer]


def first_questions(runs: Sequence[Run], examples: Path) -> list[Question]:
    """The first examples of the evaluated split, as the runs of one task and seed completed them, sampled at
    temperature 1. examples: the task's folder of them."""
    tokenizer, (splits, _) = load_tokenizer(runs[0].model), load_examples(examples)
    answers = [
        [_answer(run, record, tokenizer) for record in islice(read_records(run, "sampled"), SHOWN)] for run in runs
    ]
    return [
        Question(tokenizer.decode(example.prompt), example.text, list(of_example))
        for example, of_example in zip(splits[evaluated_split(runs[0])], zip(*answers, strict=True), strict=False)
    ]


def _answer(run: Run, record: dict, tokenizer: Tokenizer) -> Answer:
    typed = [(tokenizer.decode(tokens), fate) for tokens, fate in pieces(record["actions"], tokenizer.bkspc)]
    return Answer(run.variant.label, eta_label(run.variant), Markup(marked(typed)), _outcome(run, record))


def _outcome(run: Run, record: dict) -> str:
    """Where there is one right answer, whether this is it; of a translation only whether it is the reference."""
    same = record["text"] == record["solution"]
    if not record["finished"]:
        return "cut off"
    words = {"arithmetic": ("wrong", "right"), "translation": ("", "the reference")}
    return words.get(run.family, ("", ""))[same]
