"""What rollouts add to a training step: drawn between steps, drawn by a process beside training, or none (MLE).

    .venv/bin/python benchmarks/concurrent_rollouts.py --output concurrent_rollouts.csv

A small network with random weights trains on random tokens: time does not depend on which they are. Each process
computes with one thread, so two cores are needed. The ways take turns, a repeat being the steps from one generation to
the next. Columns: mode, repeat, seconds per step, and the share of them that training waited for rollouts.
"""

import argparse
import csv
import io
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from sequencematch.core import Actions
from sequencematch.corpus import Corpus
from sequencematch.files import write_text_atomically
from sequencematch.policy import load_policy, new_policy, save_policy
from sequencematch.seeding import generator
from sequencematch.settings import Model, Objective, Optimiser, Rollouts, Schedule
from sequencematch.training import Run, Stage, _Trainer

VOCABULARY, SPECIAL = 1024, {"pad": 0, "bos": 1, "eos": 2}
MODES = ("mle", "sm, rollouts between steps", "sm, rollouts beside training")


def corpus(prompt: int, continuation: int) -> Corpus:
    rng = generator("benchmark")
    rows = rng.integers(3, VOCABULARY, (256, prompt + continuation)).tolist()
    return Corpus([[Actions(row[:prompt], row[prompt:], [True] * continuation) for row in rows]], "random tokens")


def rebuilt(folder: Path):
    return load_policy(folder, backspace=True)[0]


def trainer(mode: str, args: argparse.Namespace, folder: Path) -> _Trainer:
    """A run of ``mode`` before its first step; rollouts never end before their continuation's length."""
    interval = args.generate * args.seen // args.batch
    policy = rebuilt(folder) if mode != "mle" else load_policy(folder)[0]
    rollouts = Rollouts(
        generate=args.generate,
        seen=args.seen,
        share_prompts=True,
        max_actions=args.continuation,
        concurrent=mode == MODES[2],
        staleness=interval,
    )
    steps = interval * (args.repeats + 2)
    loss = "mle" if mode == "mle" else "sm"
    return _Trainer(
        Run(
            policy=policy,
            train=corpus(args.prompt, args.continuation),
            validation=corpus(args.prompt, 1),
            stage=Stage(loss, 0, steps, steps, steps),
            optimiser=Optimiser(batch=args.batch, micro_batch=args.batch, learning_rate=1e-6),
            schedule=Schedule(),
            objective=Objective(),
            rollouts=rollouts,
            seed=1,
            resume=folder / "none",
            rebuild=partial(rebuilt, folder),
        )
    )


def seconds(run: _Trainer, steps: int) -> tuple[float, float]:
    """Seconds that ``steps`` steps took, and of these, those spent waiting for rollouts."""
    run.waited = waited = 0.0
    start = time.perf_counter()
    for _ in range(steps):
        waited += run._gradient_step().get("rollout_wait", 0.0)
        run.step += 1
    run._answer()  # what is still under way would be done while another mode takes its turn
    return time.perf_counter() - start, waited + run.waited


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    defaults = {"prompt": 64, "continuation": 192, "batch": 2, "generate": 4, "seen": 8, "repeats": 5}
    for name, value in (defaults | {"layers": 4, "width": 128}).items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Model(layers=args.layers, width=args.width, heads=4, context=args.prompt + args.continuation)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        policy = new_policy(model, VOCABULARY, SPECIAL, backspace=False, seed=0)
        policy.lm.config.eos_token_id = None
        save_policy(policy, model, Path(folder))
        runs = {mode: trainer(mode, args, Path(folder)) for mode in MODES}
        steps = args.generate * args.seen // args.batch
        try:
            for repeat in range(-1, args.repeats):  # the first one is not counted
                for mode, run in runs.items():
                    taken, waited = seconds(run, steps)
                    if repeat >= 0:
                        rows.append((mode, repeat, f"{taken / steps:.5f}", f"{waited / taken:.4f}"))
        finally:
            for run in runs.values():
                run.producer.close()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("mode", "repeat", "seconds_per_step", "share_waiting"), *rows])
    write_text_atomically(args.output, text.getvalue())


if __name__ == "__main__":
    main()
