"""Score one run: what was decoded for every test question, and how ``<bkspc>`` answers corrupted tokens.

Read: ``samples.jsonl`` (a line per decoding and test question), ``repair.json``, for text ``judged.json``, and
the provenance files of the model and of the examples. Returned: the content of ``metrics.json``, which describes
itself:

- ``scale``, ``task``, ``method``, ``eta``, ``seed``: the run. ``family``: the kind of task.
- ``decodings``: name -> ``n`` (questions), ``answers`` (to each), ``pushes_per_sequence`` (tokens written for an
  answer, deleted ones and answers not chosen included), ``pops_per_sequence`` (tokens deleted),
  ``deletions_per_sequence`` (the actions that deleted them, of a model that may delete several at once),
  ``wrong_pop_share`` (share of pops that removed a wrong token; null without pops), ``cut_off_share`` (sequences
  stopped before their end), and by family:

  - arithmetic and graphs: ``accuracy``, ``correct`` (a digit per question, in the order of their numbers: how many of
    its answers are right). A sequence that was cut off counts as wrong.
  - translation: ``bleu``, ``chrf``, their ``signature``, and ``statistics``, per question the counts that BLEU is
    made of (``bleu.py``), summed over its answers. Of the final live text; a sequence that was cut off counts with the
    text it has.
  - text: ``perplexity``, ``mauve``, ``entropy`` (by order), ``repetition``, ``distinct``, as judged
    (``perplexity`` is null if not one token was written, ``mauve`` if there are too few texts for it).
- ``judge``; ``held_out`` and ``held_out_given_no_deletion``, each ``nll`` per token and ``per_example``; ``reference``,
  the real continuations' measures: text alone.
- ``repair``: by kind of corruption, ``repair_rate`` and ``false_alarm_rate``, the mean probability of ``<bkspc>``
  right after an injected wrong token and right after a true one, with the questions' own numbers under
  ``per_example``; null without ``<bkspc>``.
- ``older_errors``: by decoding and number d of tokens pushed after a wrong first token, ``n`` (questions), and over
  them ``taken_back_rate``, ``right_rate`` (null for text) and ``pushes`` (tokens written after the d-th), with
  ``per_example`` a list of [question, deleted, right].
- ``budget``: what must agree between runs that one table compares.
- ``commit``, ``settings``: where the model comes from.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results.bleu import translation_scores
from sequencematch.settings.families import FAMILIES
from sequencematch.store.files import read_json, read_json_lines, read_record, reason, record_of
from sequencematch.store.provenance import check_made_from, identity, made_from
from sequencematch.store.provenance_schema import read_facts

# What the judge measures of every decoding, and of the real continuations.
MEASURES = ("perplexity", "entropy", "repetition", "distinct")


@dataclass(frozen=True)
class Sample:
    """One decoded sequence: its final live text, whether it ended in ``<eos>``, and its backspaces.

    pushes: tokens written for it, deleted ones and answers not chosen included. pops: tokens deleted; deletions: the
    actions that deleted them.
    """

    decoding: str
    example: int
    answer: int
    text: str
    solution: str
    finished: bool
    pushes: int
    pops: int
    deletions: int
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
    decodings: dict[str, dict[tuple[int, int], Sample]] = {}
    for place, fields in read_json_lines(path, "sample again"):
        try:
            sample = _sample(fields)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{place} is no sample ({reason(error)}): delete the file and sample again") from error
        samples = decodings.setdefault(sample.decoding, {})
        if (sample.example, sample.answer) in samples:
            raise UserError(
                f"{place} repeats answer {sample.answer} to question {sample.example} of decoding '{sample.decoding}': "
                "delete the file and sample again"
            )
        samples[sample.example, sample.answer] = sample
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
    """The digest of the questions and their solutions. Results with equal digests can be paired."""
    asked = sorted({(sample.example, sample.solution) for sample in samples})
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def score_decoding(samples: list[Sample], at_once: bool) -> dict:
    """The numbers of one decoding that every family of tasks has (see the module's description).

    at_once: whether the model may delete several tokens at once.
    """
    n, questions = len(samples), len({sample.example for sample in samples})
    if n % questions:
        raise UserError("some questions have more answers than others: delete the samples and sample again")
    pops = sum(sample.pops for sample in samples)
    return {
        "n": questions,
        "answers": n // questions,
        "pushes_per_sequence": sum(sample.pushes for sample in samples) / n,
        "pops_per_sequence": pops / n,
        **({"deletions_per_sequence": sum(sample.deletions for sample in samples) / n} if at_once else {}),
        "wrong_pop_share": sum(sample.wrong_pops for sample in samples) / pops if pops else None,
        "cut_off_share": sum(not sample.finished for sample in samples) / n,
    }


def accuracy(samples: list[Sample]) -> dict:
    """The share of exact matches, and which questions they are."""
    right = Counter[int]()
    for sample in samples:
        right[sample.example] += sample.correct
    return {
        "accuracy": right.total() / len(samples),
        "correct": "".join(str(right[example]) for example in sorted(right)),
    }


def translation(samples: list[Sample], language: str | None = None) -> dict:
    """BLEU and chrF of the final live texts, in ``language``, against the reference translations."""
    texts, references = [sample.text for sample in samples], [sample.solution for sample in samples]
    scores = translation_scores(texts, references, language)
    of_question: dict[int, list[int]] = {}
    for sample, counts in zip(samples, scores["statistics"], strict=True):
        summed = of_question.get(sample.example, [0] * len(counts))
        of_question[sample.example] = [a + b for a, b in zip(summed, counts, strict=True)]
    return scores | {"statistics": list(of_question.values())}


# How a family's scores are computed from the samples of a decoding and the language written.
SCORES: dict[tuple[str, ...], Callable[[list[Sample], str | None], dict]] = {
    ("accuracy",): lambda samples, language: accuracy(samples),
    ("bleu", "chrf"): translation,
    (): lambda samples, language: {},
}


def read_repair(path: Path) -> dict | None:
    """Repair and false-alarm rates of ``repair.json`` by corruption, None for a policy without ``<bkspc>``."""
    found = read_json(path, "sample again")
    try:
        if not found["backspace"]:
            return None
        return {kind: _repair_rates(kind, measured) for kind, measured in found["corruptions"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"'{path}' is not a repair measurement ({reason(error)}): delete it and sample again"
        ) from error


def read_older_errors(path: Path) -> dict:
    """Rates of ``repair.json``'s older errors, by decoding and depth. Empty if they were not measured."""
    found = read_json(path, "sample again")
    try:
        return {
            name: {depth: _older_errors(measured) for depth, measured in depths.items()}
            for name, depths in found.get("older_errors", {}).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' is not a repair measurement ({error}): delete the file and sample again") from error


def _older_errors(measured: dict) -> dict:
    examples, back, right, pushes = (measured[name] for name in ("example", "taken_back", "right", "pushes"))
    rights = right if right is not None else [None] * len(examples)
    rows = list(zip(examples, map(int, back), rights, strict=True))
    n = len(rows)
    return {
        "n": n,
        "taken_back_rate": sum(back) / n if n else None,
        "right_rate": sum(right) / n if n and right is not None else None,
        "pushes": sum(pushes) / n if n else None,
        "per_example": [[example, taken, None if ok is None else int(ok)] for example, taken, ok in rows],
    }


def _repair_rates(kind: str, measured: dict) -> dict:
    numbers = {}
    for side in ("corrupted", "clean"):
        values, examples = measured[side], measured[f"example_{side}"]
        one_each = 0 < len(values) == len(examples) == len(set(examples))
        if not (one_each and all(0 <= p <= 1 + 1e-6 for p in values)):
            raise ValueError(f"'{side}' and 'example_{side}' of '{kind}' must give one probability per question")
        numbers[side] = {str(example): round(p, 6) for example, p in zip(examples, values, strict=True)}
    rates = {side: sum(by_example.values()) / len(by_example) for side, by_example in numbers.items()}
    return {"repair_rate": rates["corrupted"], "false_alarm_rate": rates["clean"], "per_example": numbers}


def read_judged(path: Path, decodings: Iterable[str]) -> tuple[dict, dict]:
    """What ``judged.json`` adds to each of the ``decodings``, and to the run: judge, held_out, reference."""
    found = read_json(path, "judge the run again")
    try:
        judge = {name: str(found["judge"][name]) for name in ("model", "description")}
        judge |= {"files": str(found["judge"]["files"])} if "files" in found["judge"] else {}
        held_out = {name: _held_out(found, name) for name in ("held_out", "held_out_given_no_deletion")}
        by_decoding = {name: _measures(found["decodings"][name], (*MEASURES, "mauve")) for name in decodings}
        return by_decoding, {
            "judge": judge,
            **held_out,
            "reference": _measures(found["reference"], MEASURES),
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"'{path}' is no judgement of this run's samples ({reason(error)}): judge the run again"
        ) from error


def _held_out(found: dict, name: str) -> dict:
    per_example = [_finite(value, f"{name}.per_example") for value in found[name]["per_example"]]
    return {"nll": _finite(found[name]["nll"], f"{name}.nll"), "per_example": per_example}


def _measures(found: dict, names: Iterable[str]) -> dict:
    """The named measures, checked; a perplexity and a MAUVE may be null."""
    measures: dict[str, float | dict | None] = {}
    for name in names:
        if name == "entropy":
            measures[name] = {order: _finite(value, name) for order, value in found[name].items()}
        elif name in ("perplexity", "mauve") and found[name] is None:
            measures[name] = None
        else:
            measures[name] = _finite(found[name], name)
    return measures


def _finite(value, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"'{name}' is {value!r}, not a number")
    return value


def read_budget(model: Path, examples: Path) -> tuple[str, dict, dict]:
    """The task's family, the facts that must agree between compared runs, and other facts (commit, settings).

    ``model`` and ``examples`` are folders with a provenance.json.
    """
    trained, encoded = (read_facts(folder, "make it again") for folder in (model, examples))
    try:
        family, settings, files = encoded["family"], trained["settings"], trained.get("network_files")
        if family not in FAMILIES:
            raise KeyError(f"a family out of {', '.join(FAMILIES)}")
        budget = {
            "base_steps": trained["base_steps"],
            "steps": trained["steps"],
            "batch": settings["optimiser"]["batch"],
            "model_digest": _digest([settings["model"], files] if files else settings["model"]),
            "data_digest": encoded["digest"],
        }
        changes = " with uncommitted changes" if trained["uncommitted_changes"] else ""
        return family, budget, {"commit": trained["commit"][:12] + changes, "settings": settings}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"the provenance.json of '{model}' or '{examples}' lacks {error}: make the folder again"
        ) from error


def _check_run(run: dict, model: Path) -> None:
    """Raises UserError where the model's provenance says that it is of another run than ``run`` names."""
    facts = read_facts(model, "make it again")
    record = read_record(model) if record_of(model).exists() else {}
    options = record.get("options")
    said = {"seed": facts.get("seed")}
    if noised := re.search(r"(?:^|/)([^/]+)/noised/eta=([^/]+)/", facts.get("noised") or ""):
        said |= {"task": noised[1], "eta": noised[2]}
    if made := re.search(
        r"(?:^|/)([^/]+)/([^/]+)/eta=([^/]+)/seed=[^/]+/model/?$",
        str(options.get("output") if isinstance(options, dict) else ""),
    ):
        said |= {"task": made[1], "method": made[2], "eta": made[3]}
    for name, value in said.items():
        given = f"{run[name]:g}" if name == "eta" else str(run[name])
        if value is not None and str(value) != given:
            raise UserError(
                f"--{name} is {given}, but the model in '{model}' was trained with {value}: name its own run"
            )


def score(run: dict, samples: Path, repair: Path, model: Path, examples: Path, judged: Path | None = None) -> dict:
    """The content of metrics.json; ``run`` holds scale, task, method, eta and seed; ``judged`` is for text."""
    family, budget, facts = read_budget(model, examples)
    _check_run(run, model)
    if FAMILIES[family].judged != (judged is not None):
        given = "needs --judged, the judge's file" if FAMILIES[family].judged else "takes no --judged: that is for text"
        raise UserError(f"a task of the family '{family}' {given}")
    _check_belong_together(samples, repair, judged, model, examples)
    decodings = read_samples(samples)
    language = read_facts(examples, "make it again").get("language")
    scores, at_once = SCORES[FAMILIES[family].scores], facts["settings"]["model"].get("deletions", 1) > 1
    by_decoding, of_run = read_judged(judged, decodings) if judged else ({}, {})
    return {
        **run,
        "family": family,
        "decodings": {
            name: score_decoding(decoded, at_once) | scores(decoded, language) | by_decoding.get(name, {})
            for name, decoded in decodings.items()
        },
        **of_run,
        "repair": read_repair(repair),
        "older_errors": read_older_errors(repair),
        "budget": budget | {"questions_digest": questions_digest(next(iter(decodings.values())))},
        **facts,
    }


def _check_belong_together(samples: Path, repair: Path, judged: Path | None, model: Path, examples: Path) -> None:
    """Raises UserError if the records name different models, examples or tokenizers."""
    for result in filter(None, (samples, repair, judged)):
        check_made_from(result, "model", identity(model), f"the model in '{model}'")
        check_made_from(result, "examples", identity(examples), f"the examples in '{examples}'")
        check_made_from(result, "tokenizer", made_from(examples, "tokenizer"), f"the tokenizer of '{examples}'")


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
