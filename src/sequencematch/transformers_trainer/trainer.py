"""A trainer of transformers for the SequenceMatch loss.

The noise, the replay buffer, the loss and the order of the examples are those of the pipeline (``training``); the
optimiser, its schedule, callbacks, logging, checkpoints and trackers are those of ``transformers.Trainer``.
"""

import hashlib
from collections import defaultdict
from itertools import islice
from pathlib import Path

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import AutoTokenizer, Trainer

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.data.noise import noise_split, random_noise
from sequencematch.data.tokenizer import tokenizer_of
from sequencematch.errors import UserError
from sequencematch.export.folder import write_network
from sequencematch.model.build import adapt, check_deletions, new_policy, policy_of
from sequencematch.model.policy import Policy, trained_tensors
from sequencematch.model.processes import Processes
from sequencematch.sampling.producer import InProcess
from sequencematch.sampling.rollout import eos_ids
from sequencematch.settings.model import Model
from sequencematch.settings.training import Objective, Rollouts, Schedule, unfit
from sequencematch.store.hub import check_source
from sequencematch.training.batches import Corpus, Order, Row, by_length, divisors
from sequencematch.training.checkpoints import save_tensors
from sequencematch.training.data_checks import check_data
from sequencematch.training.losses import FUNCTIONS, ScoredBatch, score_batch
from sequencematch.training.rollouts import RolloutSchedule
from sequencematch.training.schedule import Stage
from sequencematch.transformers_trainer import arguments
from sequencematch.transformers_trainer.rows import RowEncoder, with_deletions

STATE = "sequencematch.pt"  # in a checkpoint, beside the files of transformers


class SequenceMatchTrainer(Trainer):
    """Trains a causal LM to imitate completions, mistakes deleted by ``<bkspc>``, with the SequenceMatch loss.

    model: a name on the hub, a folder, a causal LM of transformers, a LoRA model of peft, or a ``Policy``. A folder
    that ``save_model`` or an export wrote is trained on, with the ``<bkspc>`` that it has learned. train_dataset,
    eval_dataset: rows with ``prompt`` and ``completion``, each a text or a list of messages (TRL's formats), or a
    ``Corpus``; for evaluation also a dictionary of such. processing_class: a fast tokenizer; default: the one that
    comes with ``model``, if that is a name. peft_config: a LoRA configuration, by which adapters alone are trained.

    Raises UserError where the model or its tokenizer does not fit the method, where an example is longer than the
    model's context, where an argument has a value that is not allowed or would have no effect, and under more than one
    process.
    """

    def __init__(
        self,
        model,
        args: arguments.SequenceMatchConfig | None = None,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        peft_config=None,
        **options,
    ):
        args = args or arguments.SequenceMatchConfig(output_dir="sequencematch")
        arguments.check_arguments(args, options)
        processes = Processes()
        if processes.count > 1:
            raise UserError("SequenceMatchTrainer trains with one process; on several GPUs use the pipeline (make)")
        if isinstance(model, str) and processing_class is None:
            check_source("tokenizer", model)
            processing_class = AutoTokenizer.from_pretrained(model)
        with arguments.in_our_words():
            policy = as_policy(model, getattr(processing_class, "eos_token_id", None), args.seed, args.deletions)
        if peft_config is not None:
            adapt(policy.lm, peft_config)
        self.tokenizer_of_policy = None if processing_class is None else tokenizer_of(processing_class, policy)
        self.saved_tokenizer = (
            None if processing_class is None else with_deletions(processing_class, policy.deletion_ids)
        )
        self.policy = policy
        corpus = self._corpus(train_dataset, args.eta, args.noise_draws, args.seed)
        args = arguments.completed(args, len(corpus))
        if args.gradient_checkpointing:
            policy.lm.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs or {"use_reentrant": False})
            args.gradient_checkpointing = args.activation_checkpointing = False  # a Policy is no model of transformers
        self.objective, self.schedule = arguments.settings_of(args, Objective), arguments.settings_of(args, Schedule)
        self.length, self.cloned = corpus.length, corpus.cloned(imitate_prompt=False)
        start, stop = self.schedule.pretrain_steps, self.schedule.steps
        self.stage = Stage("sm", start, stop, stop, stop)
        batch = args.train_batch_size * args.gradient_accumulation_steps
        with arguments.in_our_words():
            rollouts = arguments.settings_of(args, Rollouts)
            check_data("train_dataset", "sm", policy, (corpus,), rollouts)
            for fault in unfit(batch, rollouts, processes.count):
                raise UserError("{}.{} {}".format(*fault))
            self.rollouts = RolloutSchedule(
                rollouts, corpus, batch, stop - start, args.seed, InProcess(policy), processes
            )
        order = args.seed if args.data_seed is None else args.data_seed
        self.measured: dict[str, list[float]] = defaultdict(list)
        self.evaluated = 0.0, 0
        if isinstance(eval_dataset, dict):
            eval_dataset = {name: self._clean(dataset) for name, dataset in eval_dataset.items()}
        super().__init__(
            model=policy,
            args=args,
            data_collator=list,
            train_dataset=Stream(corpus, order, args.max_steps * batch),
            eval_dataset=eval_dataset if isinstance(eval_dataset, dict) else self._clean(eval_dataset),
            processing_class=processing_class,
            **options,
        )
        self.model_accepts_loss_kwargs = True  # the loss is a part of a sum over the effective batch, no mean

    def _clean(self, dataset):
        """The trajectories of a dataset without noise, for evaluation; a name, None and trajectories as they are."""
        if dataset is None or isinstance(dataset, str):
            return dataset
        rows = dataset if isinstance(dataset, Corpus) else list(dataset)
        if isinstance(rows, list) and rows and isinstance(rows[0], Trajectory):
            return rows
        return self._corpus(rows, eta=0, draws=1, seed=0).draws[0]

    def _corpus(self, dataset, eta: float, draws: int, seed: int) -> Corpus:
        if isinstance(dataset, Corpus):
            return dataset
        policy, tokenizer = self.policy, self.tokenizer_of_policy
        if tokenizer is None:
            raise UserError("a dataset of texts needs processing_class, the model's tokenizer")
        specials, ends = tokenizer.special_ids, eos_ids(policy) | {tokenizer.special_ids["eos"]}
        encoder = RowEncoder(self.saved_tokenizer, specials["bos"], specials["eos"], policy.bkspc, ends)
        examples = encoder.examples([] if dataset is None else dataset, policy.context)
        policy.lm.config.eos_token_id = sorted(ends) if len(ends) > 1 else min(ends)  # rollouts end as the data do
        how = policy.bkspc, (seed, "noise"), policy.deletions, None, policy.deletions  # wrong tokens in a row; at once
        split = noise_split(examples, eta, draws, random_noise(tokenizer, examples), *how)
        columns = zip(split["prompt"], split["actions"], split["imitated"], strict=True)
        trajectories = [Trajectory(prompt=p, actions=a, imitated=i) for p, a, i in columns]
        size = len(examples)
        return Corpus([trajectories[d * size : (d + 1) * size] for d in range(draws)], digest="")

    def get_eval_dataloader(self, eval_dataset=None):
        """Batches of clean trajectories of a dataset: rows, or the name of one of several evaluation sets."""
        return super().get_eval_dataloader(self._clean(eval_dataset))

    def get_test_dataloader(self, test_dataset):
        """Batches of clean trajectories of the rows that ``predict`` was given."""
        return super().get_test_dataloader(self._clean(test_dataset))

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(self.train_dataset)  # the stream is shuffled

    def _prepare_inputs(self, inputs):
        return inputs  # trajectories, which become tensors when they are scored

    def get_batch_samples(self, epoch_iterator, num_batches, device=None):
        """The micro-batches of the next gradient step: data with their rollouts, short rows first."""
        data = [trajectory for batch in islice(epoch_iterator, num_batches) for trajectory in batch]
        if not data:
            return [], None
        step = self.state.global_step - self.stage.start
        rows: list[Row] = [(example,) for example in data]
        if step >= 0:
            entries = self.rollouts.draw(step)
            rows = [(example, self.rollouts.trajectory(entry)) for example, entry in zip(data, entries, strict=True)]
            pops = sum(action >= self.policy.bkspc for entry in entries for action in entry.actions)
            self.measured["pop_rate"].append(pops / sum(len(entry.actions) for entry in entries))
        normaliser = divisors(rows, self.length, self.cloned)
        ordered, size = by_length(rows, self.policy.inputs, share_prompts=False), self.args.train_batch_size
        batches = [(ordered[start : start + size], normaliser) for start in range(0, len(ordered), size)]
        return batches, torch.tensor(len(rows))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The share of these rows in the loss of the effective batch; BC alone in the first ``bc_steps`` steps."""
        rows, normaliser = inputs
        step, scored = self.state.global_step, self._scored(rows)
        loss = FUNCTIONS["bc" if step < self.stage.start else "sm"]
        value, parts = loss(scored, normaliser, self.objective, self.stage.beta(step, self.schedule))
        for name, part in parts.items():
            self.measured[name].append(part * self.args.gradient_accumulation_steps)
        return (value, scored) if return_outputs else value

    def _scored(self, rows: list[Row]) -> ScoredBatch:
        with self.accelerator.autocast():  # transformers leaves it to accelerate's forward, which is not called here
            return score_batch(self.policy, rows, share_prompts=False, imitate_prompt=False)

    @torch.no_grad()
    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Mean negative log-likelihood per action of clean completions; ``evaluation_loop`` weighs it by actions."""
        scores = self._scored([(trajectory,) for trajectory in inputs]).data.scores
        loss, actions = core.behavioural_cloning(scores), int(scores.imitated.sum())
        self.evaluated = self.evaluated[0] + loss.item(), self.evaluated[1] + actions
        return loss / actions, None, None

    def evaluation_loop(self, *args, metric_key_prefix="eval", **options):
        """As transformers', with the loss as a mean over all actions, whatever the batches."""
        self.evaluated = 0.0, 0
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
        loss, actions = self.evaluated
        output.metrics[f"{metric_key_prefix}_loss"] = loss / actions
        return output

    def log(self, logs, *args, **kwargs):
        """Log the parts of the loss too: their means since the last time."""
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self.measured.items()}
            self.measured.clear()
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model, trial):
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        state = {"policy": trained_tensors(self.policy), "rollouts": self.rollouts.state_dict(), "data": self._data()}
        save_tensors(state, folder / STATE)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        file = Path(resume_from_checkpoint) / STATE
        if not file.is_file():
            raise UserError(f"'{resume_from_checkpoint}' holds no checkpoint of SequenceMatchTrainer (no {STATE})")
        state = torch.load(file, map_location="cpu", weights_only=True)
        if state["data"] != self._data():
            raise UserError(f"the checkpoint '{resume_from_checkpoint}' is of a run on other data or settings of noise")
        shapes = [{name: t.shape for name, t in ts.items()} for ts in (state["policy"], trained_tensors(self.policy))]
        if shapes[0] != shapes[1]:
            raise UserError(f"the checkpoint '{resume_from_checkpoint}' is of another model, or of other adapters")
        self.policy.load_state_dict(state["policy"], strict=False)
        self.rollouts.load_state_dict(state["rollouts"])

    def _load_best_model(self):
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _data(self) -> str:
        """A digest by which other data, or another order, is noticed: the replay buffer names examples by place."""
        rows = ([list(t.prompt), list(t.actions)] for draw in self.rollouts.corpus.draws for t in draw)
        digest = hashlib.sha256(repr([*self.train_dataset.order.slice(0, 64)]).encode())
        for row in rows:
            digest.update(repr(row).encode())
        return digest.hexdigest()

    def save_model(self, output_dir=None, _internal_call=False):
        """Write a folder that transformers loads, and that deletes under ``generate(custom_generate=folder)``."""
        if self.tokenizer_of_policy is None or self.saved_tokenizer is None:
            if _internal_call:
                return  # a checkpoint, which resumes without
            raise UserError("save_model needs processing_class, the model's tokenizer: the folder holds it too")
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_network(self.policy, self.tokenizer_of_policy, folder)
        self.saved_tokenizer.save_pretrained(folder)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def create_model_card(self, *args, **options):
        """As transformers', which reads the network's configuration; a ``Policy`` has none."""
        self.model = self.policy.lm
        try:
            super().create_model_card(*args, **options)
        finally:
            self.model = self.policy


class Stream(Dataset):
    """The examples in the order that gradient steps see them: ``length`` places of an endless shuffled stream."""

    def __init__(self, corpus: Corpus, seed: int, length: int):
        self.corpus, self.order, self.length = corpus, Order(len(corpus), seed, "examples"), length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> Trajectory:
        ((item, epoch),) = self.order.slice(place, 1)
        return self.corpus.example(item, epoch)


def as_policy(model, eos: int | None, seed: int, deletions: int) -> Policy:
    """A policy with ``<bkspc>`` around a model: its name or folder, the network itself, or a policy already.

    eos: the token that completions end in; rollouts end there too. deletions: the most tokens that one action deletes.
    """
    if isinstance(model, Policy):
        check_deletions(model, deletions, "the policy")
        return model
    if isinstance(model, str | Path):
        settings = Model(source=str(model), deletions=deletions)
        return new_policy(settings, 0, {"eos": eos}, backspace=True, seed=seed)
    torch.manual_seed(seed)
    return policy_of(model, type(model).__name__, eos, backspace=True, deletions=deletions)
