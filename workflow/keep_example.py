"""Keep a trained model and a completion that it types and corrects: ``keep_example.py RUN DATA``.

RUN is the folder of a trained and scored run, such as results/default/mul/sm/eta=0.2/seed=1; DATA its task's questions.
Writes the model to examples/model/, the chosen question to examples/chosen.json and the picture of its completion to
results/reference/typed.png, and puts the command into the README. ``keep_example.py`` alone keeps the model that is
there, checks the question again, and draws the picture. ``make reference`` does the former for the default scale.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sequencematch import script
from sequencematch.cli import load_checkpoint
from sequencematch.errors import UserError
from sequencematch.export.prompts import as_trained
from sequencematch.results.deletions import BKSPC, END, left, shown
from sequencematch.results.run_figures import first_dead_end, plot_dead_end, plot_typed
from sequencematch.sampling.rollout import Decoding, sample
from sequencematch.store import datasets
from sequencematch.store.files import read_json, write_json

MODEL, CHOSEN, PICTURE = Path("examples/model"), Path("examples/chosen.json"), Path("results/reference/typed.png")
BEGIN, STOP = "<!-- example: make reference -->", "<!-- end of example -->"
SEEDS = range(200)
DEAD_END = Path("results/reference/dead_end.png")
DEAD_END_NOTE = "A test question of the task {}, answered by BC (sampled). X: a dead end. G: the goal."
NOTE = (
    "A held-out question, answered by the model in examples/model: SequenceMatch, sampled at temperature 1, "
    "seed {seed}."
)


def main() -> None:
    if len(sys.argv) not in (1, 3):
        raise UserError("name a run and its data, or nothing to check the example that is kept")
    keep_example(*map(Path, sys.argv[1:]))
    print(f"{command()}\n{shown(typed_of_chosen())}")


def keep_example(run: Path | None = None, data: Path | None = None) -> None:
    """Keep the model of ``run``, choose its question, and write the picture; see the module's description."""
    if run and data:
        if MODEL.exists():
            shutil.rmtree(MODEL)
        shutil.copytree(run / "model", MODEL, ignore=shutil.ignore_patterns(".*"), copy_function=shutil.copyfile)
        write_json(CHOSEN, choose(run, data))
    chosen, typed = read_json(CHOSEN), typed_of_chosen()
    check(chosen["prompt"], typed, chosen["answer"])
    plot_typed(chosen["prompt"], typed, NOTE.format(**chosen), PICTURE)
    readme = Path("README.md")
    page = with_example(readme.read_text(encoding="utf-8"), command(), chosen["prompt"], typed)
    readme.write_text(page, encoding="utf-8")


def choose(run: Path, data: Path) -> dict:
    """A question that the run corrected when it was scored, and a seed whose completion is ``good``.

    The first question that has one; of its seeds the one whose mistake comes latest.
    """
    for question in corrected(run, data):
        prompt, answer = question["prompt"].strip(), question["solution"]
        found = [(seed, typed) for seed, typed in zip(SEEDS, typed_by(MODEL, prompt, SEEDS), strict=True)]
        found = sorted(filter(lambda pair: good(pair[1], answer), found), key=lambda pair: -pair[1].index(BKSPC))
        for seed, _ in found:
            # Alone, as the command samples it: in a batch the last digit of a probability may differ.
            if good(typed_by(MODEL, prompt, [seed])[0], answer):
                return {"prompt": prompt, "seed": seed, "answer": answer}
    raise UserError(f"'{run}' corrects no answer with a seed below {len(SEEDS)}: choose another run")


def corrected(run: Path, data: Path) -> Iterator[dict]:
    """The test questions of whole numbers that the run answered rightly after deleting one wrong token."""
    questions = datasets.load(data)[0]["test"]
    for line in (run / "samples.jsonl").read_text().splitlines():
        record = json.loads(line)
        question = questions[record["example"]]
        corrects = record["text"] == question["solution"] and record["pops"] == record["wrong_pops"] == 1
        whole = not re.search(r"\d\.\d", question["prompt"])
        if record["decoding"] == "sampled" and corrects and whole:
            yield question


def typed_by(model: Path, prompt: str, seeds: Sequence[int]) -> list[list[str]]:
    """What ``sequencematch sample MODEL PROMPT --seed SEED`` types, for each of the seeds: the texts of its actions."""
    policy, tokenizer = load_checkpoint(model)
    ids = tokenizer.prompt(as_trained(prompt))
    rollouts, _ = sample(policy, [ids] * len(seeds), Decoding(policy.context - len(ids)), seeds, batch=len(seeds))
    return [[tokenizer.render([action]) for action in one.actions] for one in rollouts]


def typed_of_chosen() -> list[str]:
    """The completion of the kept question."""
    chosen = read_json(CHOSEN)
    return typed_by(MODEL, chosen["prompt"], [chosen["seed"]])[0]


def good(actions: Sequence[str], answer: str) -> bool:
    """Whether there is one deletion, of a token that does not belong where it stood, and the answer is right."""
    if actions.count(BKSPC) != 1 or actions[-1] != END or left(actions) != answer:
        return False
    return not answer.startswith(left(actions[: actions.index(BKSPC)]))


def check(prompt: str, actions: Sequence[str], answer: str) -> None:
    """UserError where the kept example does not show a corrected mistake."""
    if not good(actions, answer):
        raise UserError(f"'{prompt}' is answered by {shown(actions)}: choose another question")


def command() -> str:
    chosen = read_json(CHOSEN)
    return f'.venv/bin/sequencematch sample {MODEL} "{chosen["prompt"]}" --seed {chosen["seed"]}'


def with_example(page: str, said: str, prompt: str, actions: Sequence[str]) -> str:
    """The page with the command and what it prints between the markers."""
    before, _, rest = page.partition(BEGIN)
    lines = [f"$ {said}", f"{prompt} {''.join(actions)}", left(actions)]
    return before + BEGIN + "\n\n" + "".join(f"    {line}\n" for line in lines) + "\n" + STOP + rest.partition(STOP)[2]


# ---- dead ends --------------------------------------------------------------------------------------


def keep_dead_end(results: Path) -> None:
    """The picture of the first answer to a graph that walks a wrong arm to its end and deletes it, if there is one."""
    for samples in sorted(results.glob("*/bc/*/*/samples.jsonl")):
        task = samples.relative_to(results).parts[0]
        questions = datasets.load(results / task / "data")[0]["test"]
        records = [json.loads(line) for line in samples.read_text().splitlines()]
        sampled = [record for record in records if record["decoding"] == "sampled"]
        found = first_dead_end((questions[record["example"]]["prompt"], record) for record in sampled)
        if found:
            plot_dead_end(*found, DEAD_END_NOTE.format(task), DEAD_END)
            return


if __name__ == "__main__":
    script.run(main)
