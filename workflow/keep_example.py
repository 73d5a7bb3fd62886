"""The kept examples: a trained model with a completion that it types and corrects, and a dead end of a graph.

``keep_reference.py`` keeps them: the model in examples/model/, the chosen question in examples/chosen.json, the
pictures in results/reference/, and the command in the README.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sequencematch.cli import load_checkpoint
from sequencematch.errors import UserError
from sequencematch.export.prompts import as_trained
from sequencematch.results.deletions import BKSPC, END, left
from sequencematch.results.run_figures import first_dead_end, plot_dead_end, plot_typed
from sequencematch.sampling.rollout import Decoding, sample
from sequencematch.store import datasets
from sequencematch.store.files import read_json, write_json

MODEL, CHOSEN, PICTURE = Path("examples/model"), Path("examples/chosen.json"), Path("results/reference/typed.png")
SEEDS = range(200)
DEAD_END = Path("results/reference/dead_end.png")
DEAD_END_NOTE = "A test question of the task {}, answered by BC (sampled). X: a dead end. G: the goal."
NOTE = (
    "A held-out question, answered by the model in examples/model: SequenceMatch, sampled at temperature 1, "
    "seed {seed}."
)


def keep_example(run: Path, data: Path) -> None:
    """Keep the model of a trained and scored run, choose a question of its task's ``data``, and draw its completion."""
    shutil.rmtree(MODEL, ignore_errors=True)
    shutil.copytree(run / "model", MODEL, ignore=shutil.ignore_patterns(".*"), copy_function=shutil.copyfile)
    chosen = choose(run, data)
    write_json(CHOSEN, chosen)
    plot_typed(chosen["prompt"], typed_of_chosen(), NOTE.format(**chosen), PICTURE)


def choose(run: Path, data: Path) -> dict:
    """A question that the run corrected when it was scored, and a seed whose completion is ``good``.

    The first question that has one; of its seeds the one whose mistake comes latest.
    """
    for question in corrected(run, data):
        prompt, answer = question["prompt"].strip(), question["solution"]
        found = [(seed, typed) for seed, typed in zip(SEEDS, typed_by(prompt, SEEDS), strict=True)]
        found = sorted(filter(lambda pair: good(pair[1], answer), found), key=lambda pair: -pair[1].index(BKSPC))
        for seed, _ in found:
            # Alone, as the command samples it: in a batch the last digit of a probability may differ.
            if good(typed_by(prompt, [seed])[0], answer):
                return {"prompt": prompt, "seed": seed, "answer": answer}
    raise UserError(f"'{run}' corrects no answer with a seed below {len(SEEDS)}: choose another run")


def corrected(run: Path, data: Path) -> Iterator[dict]:
    """The test questions of whole numbers that the run answered rightly after deleting one wrong token."""
    for record, question in sampled(run, data):
        corrects = record["text"] == question["solution"] and record["pops"] == record["wrong_pops"] == 1
        if corrects and not re.search(r"\d\.\d", question["prompt"]):
            yield question


def sampled(run: Path, data: Path) -> Iterator[tuple[dict, dict]]:
    """The records of a run's sampled answers, each with its question."""
    questions = datasets.load(data)[0]["test"]
    records = map(json.loads, (run / "samples.jsonl").read_text().splitlines())
    return ((record, questions[record["example"]]) for record in records if record["decoding"] == "sampled")


def typed_by(prompt: str, seeds: Sequence[int]) -> list[list[str]]:
    """What ``sequencematch sample MODEL PROMPT --seed SEED`` types, for each of the seeds: the texts of its actions."""
    policy, tokenizer = load_checkpoint(MODEL)
    ids = tokenizer.prompt(as_trained(prompt))
    rollouts, _ = sample(policy, [ids] * len(seeds), Decoding(policy.context - len(ids)), seeds, batch=len(seeds))
    return [[tokenizer.render([action]) for action in one.actions] for one in rollouts]


def typed_of_chosen() -> list[str]:
    """The completion of the kept question."""
    chosen = read_json(CHOSEN)
    return typed_by(chosen["prompt"], [chosen["seed"]])[0]


def good(actions: Sequence[str], answer: str) -> bool:
    """Whether there is one deletion, of a token that does not belong where it stood, and the answer is right."""
    if actions.count(BKSPC) != 1 or actions[-1] != END or left(actions) != answer:
        return False
    return not answer.startswith(left(actions[: actions.index(BKSPC)]))


def block() -> str:
    """The README's block ``example``: the command, and what it prints."""
    chosen, actions = read_json(CHOSEN), typed_of_chosen()
    command = f'$ .venv/bin/sequencematch sample {MODEL} "{chosen["prompt"]}" --seed {chosen["seed"]}'
    lines = [command, f"{chosen['prompt']} {''.join(actions)}", left(actions)]
    return "\n" + "".join(f"    {line}\n" for line in lines) + "\n"


def keep_dead_end(results: Path) -> None:
    """The picture of the first answer to a graph that walks a wrong arm to its end and deletes it, if there is one."""
    for samples in sorted(results.glob("*/bc/*/*/samples.jsonl")):
        task = samples.relative_to(results).parts[0]
        answers = sampled(samples.parent, results / task / "data")
        if found := first_dead_end((question["prompt"], record) for record, question in answers):
            plot_dead_end(*found, DEAD_END_NOTE.format(task), DEAD_END)
            return
