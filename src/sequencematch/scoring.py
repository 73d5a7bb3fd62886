"""Score one run: what was decoded for every test question, and how ``<bkspc>`` answers corrupted tokens.

Read: ``samples.jsonl`` (a line per decoding and test question), ``repair.json``, and the provenance files of
the model and of the examples. Returned: the content of ``metrics.json``, which describes itself:

- ``scale``, ``task``, ``method``, ``eta``, ``seed``: the run.
- ``decodings``: name -> ``accuracy``, ``n`` (questions), ``correct`` (a character 0 or 1 per question, in the
  order of their numbers), ``pops_per_sequence``, ``wrong_pop_share`` (share of pops that removed a wrong
  token; null without pops), ``cut_off_share`` (sequences stopped before ``<eos>``; they count as wrong).
- ``repair``: ``repair_rate`` and ``false_alarm_rate``, the mean probability of ``<bkspc>`` right after an
  injected wrong token and right after a true one, with the questions' own numbers under ``per_example``; null
  without ``<bkspc>``.
- ``budget``: what must agree between runs that one table compares.
- ``commit``, ``settings``: where the model comes from.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sequencematch.errors import UserError


@dataclass(frozen=True)
class Sample:
    """One decoded sequence: its final live text, whether it ended in ``<eos>``, and its backspaces."""

    decoding: str
    example: int
    text: str
    solution: str
    finished: bool
    pops: int
    wrong_pops: int

    @property
    def correct(self) -> bool:
        """Exact match of the final live text; a sequence that was cut off has no final text."""
        return self.finished and self.text == self.solution


def read_samples(path: Path) -> dict[str, list[Sample]]:
    """The samples of each decoding, ordered by question.

    Raises UserError naming the line that is no sample, a question decoded twice, or decodings of
    different questions.
    """
    decodings: dict[str, dict[int, Sample]] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        try:
            sample = _sample(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise UserError(
                f"line {number} of '{path}' is no sample ({what}): delete the file and sample again"
            ) from error
        samples = decodings.setdefault(sample.decoding, {})
        if sample.example in samples:
            raise UserError(
                f"line {number} of '{path}' repeats question {sample.example} of decoding '{sample.decoding}': "
                "delete the file and sample again"
            )
        samples[sample.example] = sample
    if not decodings:
        raise UserError(f"'{path}' holds no samples: delete the file and sample again")
    ordered = {name: [samples[i] for i in sorted(samples)] for name, samples in decodings.items()}
    if len({questions_digest(samples) for samples in ordered.values()}) > 1:
        raise UserError(f"the decodings in '{path}' are of different questions: delete the file and sample again")
    return ordered


def _sample(fields: dict) -> Sample:
    wanted = {name: fields[name] for name in Sample.__annotations__}
    for name, kind in Sample.__annotations__.items():
        if type(wanted[name]) is not kind:
            raise TypeError(f"'{name}' is {wanted[name]!r}, not of type {kind.__name__}")
    return Sample(**wanted)


def questions_digest(samples: Iterable[Sample]) -> str:
    """Names the questions and their solutions: equal digests mean that results can be paired."""
    asked = [(sample.example, sample.solution) for sample in samples]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def score_decoding(samples: list[Sample]) -> dict:
    """The numbers of one decoding (see the module's description)."""
    n = len(samples)
    pops = sum(sample.pops for sample in samples)
    return {
        "accuracy": sum(sample.correct for sample in samples) / n,
        "n": n,
        "correct": "".join("1" if sample.correct else "0" for sample in samples),
        "pops_per_sequence": pops / n,
        "wrong_pop_share": sum(sample.wrong_pops for sample in samples) / pops if pops else None,
        "cut_off_share": sum(not sample.finished for sample in samples) / n,
    }


def read_repair(path: Path) -> dict | None:
    """Repair and false-alarm rates of ``repair.json``, None for a policy without ``<bkspc>``."""
    found = read_json(path, "sample again")
    try:
        if not found["backspace"]:
            return None
        numbers = {}
        for side in ("corrupted", "clean"):
            values, examples = found[side], found[f"example_{side}"]
            one_each = 0 < len(values) == len(examples) == len(set(examples))
            if not (one_each and all(0 <= p <= 1 + 1e-6 for p in values)):
                raise ValueError(f"'{side}' and 'example_{side}' must give one probability per question")
            numbers[side] = {str(example): round(p, 6) for example, p in zip(examples, values, strict=True)}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' is not a repair measurement ({error}): delete the file and sample again") from error
    rates = {side: sum(by_example.values()) / len(by_example) for side, by_example in numbers.items()}
    return {"repair_rate": rates["corrupted"], "false_alarm_rate": rates["clean"], "per_example": numbers}


def read_budget(model: Path, examples: Path) -> tuple[dict, dict]:
    """What must agree between compared runs, and the facts (commit, settings) that a reader may want.

    ``model`` and ``examples`` are folders with a provenance.json.
    """
    trained, encoded = (read_json(folder / "provenance.json", "make it again") for folder in (model, examples))
    try:
        settings = trained["settings"]
        budget = {
            "base_steps": trained["base_steps"],
            "steps": trained["steps"],
            "batch": settings["optimiser"]["batch"],
            "model_digest": _digest(settings["model"]),
            "data_digest": encoded["digest"],
        }
        changes = " with uncommitted changes" if trained["uncommitted_changes"] else ""
        return budget, {"commit": trained["commit"][:12] + changes, "settings": settings}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"the provenance.json of '{model}' or '{examples}' lacks {error}: make the folder again"
        ) from error


def score(run: dict, samples: Path, repair: Path, model: Path, examples: Path) -> dict:
    """The content of metrics.json; ``run`` holds scale, task, method, eta and seed."""
    decodings = read_samples(samples)
    budget, facts = read_budget(model, examples)
    return {
        **run,
        "decodings": {name: score_decoding(decoded) for name, decoded in decodings.items()},
        "repair": read_repair(repair),
        "budget": budget | {"questions_digest": questions_digest(next(iter(decodings.values())))},
        **facts,
    }


def read_json(path: Path, remedy: str) -> dict:
    """A JSON object from a file; UserError with the remedy where there is none."""
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise UserError(f"'{path}' is no valid JSON ({error}): delete it and {remedy}") from error
    if not isinstance(found, dict):
        raise UserError(f"'{path}' holds no JSON object: delete it and {remedy}")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not there or not a text file: run the step that makes it") from error


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
