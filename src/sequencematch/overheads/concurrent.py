"""What rollouts add to a training step: drawn between steps, drawn by a concurrent process, or none (MLE)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

import torch

from sequencematch.core import Trajectory
from sequencematch.model.build import load_policy, save_policy
from sequencematch.model.policy import Policy
from sequencematch.overheads.steps import Case, make_data
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.training.batches import Corpus
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import Run, Trainer

# Steps that one generation serves, as in the paper at long contexts; a repeat has as many.
STEPS = 16
MODES = {"mle": "mle", "between": "sm", "beside": "sm"}


@contextmanager
def trainers(policy: Policy, model: Model, settings: Overhead, case: Case) -> Iterator[dict[str, Trainer]]:
    """Runs of each mode before their first step, on random tokens; rollouts are as long as the continuation.

    Each process computes with one thread, so that two cores are enough for training and rollouts.
    """
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        save_policy(policy, model, Path(folder))
        runs = {}
        try:
            torch.set_num_threads(1)
            for mode in MODES:
                runs[mode] = Trainer(_run(mode, model, settings, case, Path(folder)))
            yield runs
        finally:
            torch.set_num_threads(threads)
            for run in runs.values():
                run.close()


def _run(mode: str, model: Model, settings: Overhead, case: Case, folder: Path) -> Run:
    rebuild = partial(_rebuilt, folder, LOSSES[MODES[mode]].backspace)
    policy = rebuild()
    many = Case(case.prompt, case.continuation, max(256, case.batch))
    rows = make_data(many, policy.bkspc, policy.bkspc, settings.eta, settings.pops).clean
    one = Trajectory(prompt=rows[0].prompt, actions=rows[0].actions[:1], imitated=[True])
    return Run(
        policy=policy,
        train=Corpus([rows], "random tokens"),
        validation=Corpus([[one]], "random tokens"),
        stage=Stage(MODES[mode], 0, *[1000 * STEPS] * 3),  # more than are timed
        optimiser=Optimiser(batch=case.batch, micro_batch=case.batch, learning_rate=1e-6),
        schedule=Schedule(),
        objective=Objective(),
        rollouts=Rollouts(
            generate=max(1, STEPS * case.batch // settings.seen),
            seen=settings.seen,
            share_prompts=True,
            max_actions=case.continuation,
            concurrent=mode == "beside",
            staleness=STEPS,
        ),
        seed=1,
        resume=folder / "none",
        precision=model.precision,
        rebuild=rebuild,
    )


def _rebuilt(folder: Path, backspace: bool) -> Policy:
    policy = load_policy(folder, backspace)[0]
    policy.lm.config.eos_token_id = None  # nothing ends a rollout early
    return policy


def timed_steps(run: Trainer) -> dict[str, float]:
    """Seconds of a step, averaged from one generation to the next, and the share of it spent waiting for rollouts."""
    start = perf_counter()
    waited = sum(run.gradient_step().get("rollout_wait", 0.0) for _ in range(STEPS))
    if run.rollouts is not None:
        run.rollouts.collect()  # otherwise a generation under way would run during the turn of another mode
    seconds = perf_counter() - start
    waited += run.rollouts.seconds_waited() if run.rollouts is not None else 0.0
    return {"step": seconds / STEPS, "waiting": waited / seconds}
