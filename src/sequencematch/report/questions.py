"""The first questions of a task and what was typed in answer, deletions visible: nothing is picked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sequencematch.report.completions import pieces, read_records
from sequencematch.report.runs import Run
from sequencematch.storage import load
from sequencematch.tokenizer import load_tokenizer

SHOWN = 4  # questions of a task


@dataclass(frozen=True)
class Answer:
    """What one variant typed: (text, deleted) in the order typed, and how it was scored ('' where it was not)."""

    label: str
    eta: str
    typed: list[tuple[str, bool]]
    outcome: str


@dataclass(frozen=True)
class Question:
    """A question, its reference completion, and every variant's answer."""

    prompt: str
    solution: str
    answers: list[Answer]


def first_questions(runs: Sequence[Run], data: Path) -> list[Question]:
    """The first questions as the runs of one task and seed answered them, sampled at temperature 1.

    data: the task's dataset folder, for the prompts.
    """
    tokenizer = load_tokenizer(runs[0].model)
    records = [list(islice(read_records(run.folder / "samples.jsonl", "sampled"), SHOWN)) for run in runs]
    solutions = [record["solution"] for record in records[0]]
    return [
        Question(
            prompt, solution, [_answer(run, of_run[i], tokenizer) for run, of_run in zip(runs, records, strict=True)]
        )
        for i, (prompt, solution) in enumerate(zip(_prompts(data, solutions), solutions, strict=True))
    ]


def _answer(run: Run, record: dict, tokenizer) -> Answer:
    exact = "accuracy" in run.metrics["decodings"].get("sampled", {})
    outcome = "right" if record["text"] == record["solution"] else "wrong"
    return Answer(
        run.variant.label,
        f"{run.variant.eta:g}" if run.variant.eta else "none",
        [(text.replace("<eos>", ""), deleted) for text, deleted in pieces(record["actions"], tokenizer)],
        "cut off" if not record["finished"] else outcome if exact else "",
    )


def _prompts(data: Path, solutions: Sequence[str]) -> list[str]:
    """The prompts of the split whose first completions are the solutions; empty where the task stores none."""
    splits, _ = load(data)
    for split in splits.values():
        first = split[: len(solutions)]
        if "prompt" in first and first["completion"] == list(solutions):
            return first["prompt"]
    return [""] * len(solutions)


def shown(run: Run) -> list[dict]:
    """Prompts whose last token was replaced by a random one, and what was typed (text tasks; else empty)."""
    file = run.folder / "shown.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
