"""What the variants typed for the first examples of a task, with visible deletions; and one introductory answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from markupsafe import Markup

from sequencematch.data.examples import load_examples
from sequencematch.data.tokenizer import Tokenizer, load_tokenizer
from sequencematch.results.deletions import pieces
from sequencematch.results.runs import Run, evaluated_split, read_records
from sequencematch.results.showcase import marked
from sequencematch.settings.families import FAMILIES

SHOWN = 4  # questions of a task


@dataclass(frozen=True)
class Answer:
    """What one variant typed, and how it was scored ('' if it was not)."""

    name: str
    typed: Markup
    outcome: str


@dataclass(frozen=True)
class Question:
    """A prompt, its reference completion, and every variant's answer."""

    prompt: str
    solution: str
    answers: list[Answer]


def first_questions(runs: Sequence[Run], examples: Path) -> list[Question]:
    """The first examples of the evaluated split, as the runs of one task and seed completed them with sampling.

    examples: the task's folder of them.
    """
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
    return Answer(run.variant.name, Markup(marked(typed)), _outcome(run, record))


def _outcome(run: Run, record: dict) -> str:
    """Whether an answer is right; of a translation, only whether it equals the reference."""
    same = record["text"] == record["solution"]
    if not record["finished"]:
        return "cut off"
    words = {"accuracy": ("wrong", "right"), "bleu": ("", "the reference")}
    return words.get(FAMILIES[run.family].score, ("", ""))[same]


def typed_example(runs: Sequence[Run], results: Path) -> Question | None:
    """The first sampled answer of SequenceMatch that deletes and equals the reference; else the first that deletes.

    Questions come first, because every reader can check their answer. None if nothing was deleted.
    """
    deleting = None
    chosen = [run for run in runs if run.variant.family == "sm" and run.seed == runs[0].seed]
    for run in sorted(chosen, key=lambda run: FAMILIES[run.family].score != "accuracy"):
        for record in read_records(run, "sampled"):
            right = record["finished"] and record["text"] == record["solution"]
            if record["pops"] and (right or deleting is None):
                deleting = run, record
            if record["pops"] and right:
                return _alone(run, record, results)
    return _alone(*deleting, results) if deleting else None


def _alone(run: Run, record: dict, results: Path) -> Question:
    """One answer with its prompt."""
    tokenizer, (splits, _) = load_tokenizer(run.model), load_examples(results / run.task / "examples")
    example = splits[evaluated_split(run)][record["example"]]
    return Question(tokenizer.decode(example.prompt), example.text, [_answer(run, record, tokenizer)])
