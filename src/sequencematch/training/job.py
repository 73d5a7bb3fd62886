"""A training stage as a job. It reads and writes folders, and it can be resumed."""

import argparse
import hashlib
import json
import os
import pickle
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from sequencematch.data.tokenizer import Tokenizer, load_tokenizer
from sequencematch.errors import UserError
from sequencematch.model import build, description, network_files
from sequencematch.model.policy import Policy
from sequencematch.model.processes import Processes, join
from sequencematch.seeding import stable_seed
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model
from sequencematch.settings.options import settings_from
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.store import provenance
from sequencematch.store.code_digest import code_digest
from sequencematch.store.files import atomic_folder, check_digest
from sequencematch.store.provenance_schema import read_facts
from sequencematch.training import batches, bkspc_start, checkpoints, deletion_head
from sequencematch.training.data_checks import check_data
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import METRICS, VALIDATION_EXAMPLES, Run, train, write_metrics

# Variable of the environment that names the tracker: no option, because no result depends on it.
TRACKER = "SEQUENCEMATCH_TRACKER"


@dataclass(frozen=True)
class Start:
    """What a stage starts from."""

    policy: Policy
    model: Model  # the settings of its network
    base_steps: int = 0  # of the base model
    folder: Path | None = None  # that the policy was read from; None: it is new, or comes from the hub


@dataclass(frozen=True)
class Settings:
    """The settings of a stage; None where its loss reads none of a section."""

    optimiser: Optimiser
    schedule: Schedule
    objective: Objective | None = None
    rollouts: Rollouts | None = None


def scratch_or_pretrained(args: argparse.Namespace) -> Start:
    """The untrained policy (or the pretrained network) that a base model starts from."""
    join(args.gpus)
    model = settings_from(args, Model)
    tokenizer = load_tokenizer(args.tokenizer)
    seed = stable_seed(args.seed, "weights")
    return Start(build.new_policy(model, tokenizer.size, tokenizer.special_ids, backspace=False, seed=seed), model)


def load_initial(args: argparse.Namespace, stage: Stage) -> Start:
    """The policy that a later stage starts from, with ``<bkspc>`` if its loss needs it."""
    join(args.gpus)
    history = LOSSES[stage.loss].history
    policy, model = build.load_policy(args.initial, backspace=LOSSES[stage.loss].backspace)
    if policy.history != history:
        if description.read_description(args.initial).backspace:
            raise UserError(
                f"the model in '{args.initial}' has learned <bkspc> in another way ({policy.history}) than "
                f"{stage.loss} teaches it ({history}): start from the base model"
            )
        policy.keep(history)
    initial = read_facts(args.initial, "train it again", "base_steps", "steps")
    return Start(policy, model, initial["steps"] if stage.start == 0 else initial["base_steps"], args.initial)


def run_stage(args: argparse.Namespace, stage: Stage, start: Start, settings: Settings) -> None:
    """Train ``start.policy`` through ``stage`` and write the model folder ``args.output``.

    Checkpoints lie under ``args.resume`` in a folder named by a digest of all that the run depends on, for it alone.
    """
    tokenizer = load_tokenizer(args.tokenizer)
    run, identity = _prepare(args, stage, start, settings, tokenizer)
    metrics, optimiser_state = train(run)
    processes = Processes()
    if processes.first:
        if LOSSES[stage.loss].head:
            examples = run.train.draws[0], run.validation.draws[0][:VALIDATION_EXAMPLES]
            losses = deletion_head.train_head(run.policy, *examples, args.seed, settings.optimiser.micro_batch)[-1]
            metrics[-1] |= {f"head_{name}": value for name, value in losses.items()}
        with atomic_folder(args.output) as folder:
            build.save_policy(run.policy, start.model, folder)
            tokenizer.save(folder)
            write_metrics(metrics, folder / METRICS)
            if stage.stop < stage.total:
                checkpoints.save_tensors(optimiser_state, folder / "optimiser.pt")
            steps = {"base_steps": start.base_steps, "steps": start.base_steps + stage.stop}
            facts = identity | steps | {"noised": str(args.noised)} | provenance.describe()
            (folder / "provenance.json").write_text(json.dumps(facts, indent=2) + "\n")
        provenance.record(args, args.output)
        shutil.rmtree(run.resume, ignore_errors=True)  # its checkpoints
    processes.leave()


def _prepare(
    args: argparse.Namespace, stage: Stage, start: Start, settings: Settings, tokenizer: Tokenizer
) -> tuple[Run, dict]:
    """The run, and its identity: everything that it depends on."""
    policy, initial = start.policy, start.folder
    tokenizer.check_belongs(policy.bkspc, args.tokenizer, args.initial if initial else "the model")
    provenance.check_one_tokenizer(args.tokenizer, args.noised, *([initial] if initial else []))
    objective, rollouts = settings.objective or Objective(), settings.rollouts or Rollouts()
    corpus, validation = batches.load_corpora(args.noised, tokenizer.special_ids["eos"], objective.imitate_noise)
    check_data(args.noised, stage.loss, policy, (corpus, validation), rollouts)
    if initial and policy.backspace and not (policy.has_learned or description.read_description(initial).backspace):
        bkspc_start.start_bkspc(policy, settings.schedule.bkspc_start, corpus, validation)
    sections = {name: section.model_dump() for name, section in vars(settings).items() if section is not None}
    identity = {
        "stage": vars(stage),
        "settings": network_files.stated(start.model, policy.lm.config, policy.context) | sections,
        **({"network_files": policy.origin} if policy.origin else {}),
        "seed": args.seed,
        "data": corpus.digest,
        "initial": _weights_digest(initial) if initial else None,
        "code": code_digest(Path(__file__)),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    run = Run(
        policy=policy,
        train=corpus,
        validation=validation,
        stage=stage,
        optimiser=settings.optimiser,
        schedule=settings.schedule,
        objective=objective,
        rollouts=rollouts,
        seed=args.seed,
        resume=args.resume / key,
        precision=start.model.precision,
        tracker=os.environ.get(TRACKER, "none"),
        tracked=args.output.parent / "tracker",
        initial=_optimiser_state(initial) if initial and stage.start > 0 else None,
        rebuild=partial(_initial_policy, initial, policy.backspace) if initial else None,
    )
    return run, identity


def _initial_policy(folder: Path, backspace: bool) -> Policy:
    policy, _ = build.load_policy(folder, backspace)
    return policy


def _weights_digest(folder: Path) -> str:
    content = b"".join((folder / name).read_bytes() for name in ("lm.safetensors", "actions.safetensors"))
    return hashlib.sha256(content).hexdigest()


def _optimiser_state(folder: Path) -> dict:
    file = folder / "optimiser.pt"
    if not file.is_file():
        raise UserError(f"'{folder}' holds no optimiser state: it is not the model of an earlier stage")
    try:
        check_digest(file)
        return torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"'{file}' is damaged ({reason}): delete '{folder}' and run again") from error
