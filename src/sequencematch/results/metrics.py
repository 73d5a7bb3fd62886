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
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results.bleu import translation_scores
from sequencematch.results.sound import sound
from sequencematch.settings.families import FAMILIES
from sequencematch.store.files import read_json, read_json_lines, read_record, record_of
from sequencematch.store.provenance import check_made_from, identity, made_from
from sequencematch.store.provenance_schema import read_facts

# What the judge measures of every decoding, and of the real continuations.
MEASURES = ("perplexity", "entropy", "repetition", "distinct")

Samples = Sequence[dict]  # records of samples.jsonl (``evaluation.completions``)


def read_samples(path: Path) -> dict[str, list[dict]]:
    """The samples of each decoding, ordered by question. UserError where decodings are of different questions."""
    decodings: dict[str, list[dict]] = {}
    with sound(path, "samples", "sample again"):
        for _, record in read_json_lines(path, "sample again"):
            decodings.setdefault(record["decoding"], []).append(record)
        for samples in decodings.values():
            samples.sort(key=lambda sample: (sample["example"], sample["answer"]))
        if len(set(map(questions_digest, decodings.values()))) != 1:
            raise ValueError("decodings of different questions, or none")
    return decodings


def questions_digest(samples: Samples) -> str:
    """The digest of the questions and their solutions. Results with equal digests can be paired."""
    return _digest(sorted({(sample["example"], sample["solution"]) for sample in samples}))


def score_decoding(samples: Samples, at_once: bool) -> dict:
    """The numbers of one decoding that every family has; ``at_once``: the model may delete several tokens at once."""
    n, questions = len(samples), len({sample["example"] for sample in samples})
    if n % questions:
        raise ValueError("some questions have more answers than others")
    pops = _sum(samples, "pops")
    return {
        "n": questions,
        "answers": n // questions,
        "pushes_per_sequence": _sum(samples, "pushes") / n,
        "pops_per_sequence": pops / n,
        **({"deletions_per_sequence": _sum(samples, "deletions") / n} if at_once else {}),
        "wrong_pop_share": _sum(samples, "wrong_pops") / pops if pops else None,
        "cut_off_share": (n - _sum(samples, "finished")) / n,
    }


def _sum(samples: Samples, name: str) -> int:
    return sum(sample[name] for sample in samples)


def accuracy(samples: Samples) -> dict:
    """The share of exact matches, and which questions they are. A sequence that was cut off has no final text."""
    right = Counter[int]()
    for sample in samples:
        right[sample["example"]] += sample["finished"] and sample["text"] == sample["solution"]
    correct = "".join(str(right[example]) for example in sorted(right))
    return {"accuracy": right.total() / len(samples), "correct": correct}


def translation(samples: Samples, language: str | None = None) -> dict:
    """BLEU and chrF of the final live texts, in ``language``, against the reference translations."""
    texts, references = [sample["text"] for sample in samples], [sample["solution"] for sample in samples]
    scores = translation_scores(texts, references, language)
    of_question: dict[int, list[int]] = {}
    for sample, counts in zip(samples, scores["statistics"], strict=True):
        summed = of_question.get(sample["example"], [0] * len(counts))
        of_question[sample["example"]] = [a + b for a, b in zip(summed, counts, strict=True)]
    return scores | {"statistics": list(of_question.values())}


# How a family's scores are computed from the samples of a decoding and the language written.
SCORES: dict[tuple[str, ...], Callable[[Samples, str | None], dict]] = {
    ("accuracy",): lambda samples, language: accuracy(samples),
    ("bleu", "chrf"): translation,
    (): lambda samples, language: {},
}


def read_repair(path: Path) -> dict:
    """What metrics.json has of ``repair.json``: ``repair`` and ``older_errors``."""
    found = read_json(path, "sample again")
    with sound(path, "repair measurement", "sample again"):
        repair = {kind: _repair_rates(measured) for kind, measured in found["corruptions"].items()}
        older = {
            name: {depth: _older_errors(measured) for depth, measured in depths.items()}
            for name, depths in found.get("older_errors", {}).items()
        }
        return {"repair": repair if found["backspace"] else None, "older_errors": older}


def _older_errors(measured: dict) -> dict:
    examples, back, right, pushes = (measured[name] for name in ("example", "taken_back", "right", "pushes"))
    n, rights = len(examples), [None] * len(examples) if right is None else list(map(int, right))
    return {
        "n": n,
        "taken_back_rate": sum(back) / n if n else None,
        "right_rate": sum(right) / n if n and right is not None else None,
        "pushes": sum(pushes) / n if n else None,
        "per_example": [list(row) for row in zip(examples, map(int, back), rights, strict=True)],
    }


def _repair_rates(measured: dict) -> dict:
    numbers = {}
    for side in ("corrupted", "clean"):
        by_example = zip(measured[f"example_{side}"], measured[side], strict=True)
        numbers[side] = {str(example): round(p, 6) for example, p in by_example}
    rates = {side: sum(of_example.values()) / len(of_example) for side, of_example in numbers.items()}
    return {"repair_rate": rates["corrupted"], "false_alarm_rate": rates["clean"], "per_example": numbers}


def read_judged(path: Path, decodings: Iterable[str]) -> tuple[dict, dict]:
    """What ``judged.json`` adds to each of the ``decodings``, and to the run: judge, held_out, reference."""
    found = read_json(path, "judge the run again")
    with sound(path, "judgement of these samples", "judge the run again"):
        measured = {name: found["decodings"][name] for name in decodings}
        by_decoding = {name: {m: of[m] for m in (*MEASURES, "mauve")} for name, of in measured.items()}
        of_run = {name: found[name] for name in ("judge", "held_out", "held_out_given_no_deletion")}
        return by_decoding, of_run | {"reference": {name: found["reference"][name] for name in MEASURES}}


def read_budget(model: Path, examples: Path) -> tuple[str, dict, dict]:
    """The task's family, what must agree between compared runs, and commit and settings, from each provenance.json."""
    trained, encoded = (read_facts(folder, "make it again") for folder in (model, examples))
    with sound(examples / "provenance.json", "facts of examples", "encode them again"):
        family, data, _ = encoded["family"], encoded["digest"], FAMILIES[encoded["family"]]
    with sound(model / "provenance.json", "facts of a training", "train it again"):
        settings, files = trained["settings"], trained.get("network_files")
        budget = {
            "base_steps": trained["base_steps"],
            "steps": trained["steps"],
            "batch": settings["optimiser"]["batch"],
            "model_digest": _digest([settings["model"], files] if files else settings["model"]),
            "data_digest": data,
        }
        changes = " with uncommitted changes" if trained["uncommitted_changes"] else ""
        return family, budget, {"commit": trained["commit"][:12] + changes, "settings": settings}


def _check_run(run: dict, model: Path) -> None:
    """Raises UserError where the model's provenance says that it is of another run than ``run`` names."""
    facts = read_facts(model, "make it again")
    output = (read_record(model) if record_of(model).exists() else {}).get("options", {}).get("output")
    noised = re.search(r"(?:^|/)(?P<task>[^/]+)/noised/eta=(?P<eta>[^/]+)/", str(facts.get("noised")))
    made = re.search(r"(?:^|/)(?P<task>[^/]+)/(?P<method>[^/]+)/eta=(?P<eta>[^/]+)/seed=[^/]+/model/?$", str(output))
    said = {"seed": facts.get("seed")}
    for found in filter(None, (noised, made)):
        said |= found.groupdict()
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
    for result in filter(None, (samples, repair, judged)):
        check_made_from(result, "model", identity(model), f"the model in '{model}'")
        check_made_from(result, "examples", identity(examples), f"the examples in '{examples}'")
        check_made_from(result, "tokenizer", made_from(examples, "tokenizer"), f"the tokenizer of '{examples}'")
    decodings = read_samples(samples)
    language = read_facts(examples, "make it again").get("language")
    scores, at_once = SCORES[FAMILIES[family].scores], facts["settings"]["model"].get("deletions", 1) > 1
    by_decoding, of_run = read_judged(judged, decodings) if judged else ({}, {})
    with sound(samples, "samples", "sample again"):
        scored = {name: score_decoding(of, at_once) | scores(of, language) for name, of in decodings.items()}
    return {
        **run,
        "family": family,
        "decodings": {name: of | by_decoding.get(name, {}) for name, of in scored.items()},
        **of_run,
        **read_repair(repair),
        "budget": budget | {"questions_digest": questions_digest(next(iter(decodings.values())))},
        **facts,
    }


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
