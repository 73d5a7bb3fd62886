"""SequenceMatch as a trainer of transformers, with the conventions of TRL's trainers (``docs/trainer.md``).

The noise, the replay buffer, the loss and the order of the examples are those of the pipeline (``trainer``); optimiser,
schedule of the learning rate, callbacks, logging and trackers are those of ``transformers.Trainer``.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from pydantic import ValidationError
from torch.utils.data import Dataset, SequentialSampler
from transformers import AutoTokenizer, Trainer, TrainingArguments

from sequencematch import core
from sequencematch.core import Normaliser, Trajectory
from sequencematch.data.examples import Example
from sequencematch.data.noise import noise_split, random_noise
from sequencematch.data.tokenizer import Tokenizer, tokenizer_of
from sequencematch.errors import UserError
from sequencematch.export.folder import write_network
from sequencematch.model.build import end_tokens, new_policy
from sequencematch.model.fitness import check_fitness
from sequencematch.model.policy import Policy
from sequencematch.model.processes import Processes
from sequencematch.sampling.producer import InProcess
from sequencematch.settings.explain import sentence
from sequencematch.settings.model import Model
from sequencematch.settings.options import SomeSection
from sequencematch.settings.training import Objective, Rollouts
from sequencematch.training.batches import Corpus, Order, Row, by_length
from sequencematch.training.losses import FUNCTIONS, score_batch
from sequencematch.training.rollouts import RolloutSchedule
from sequencematch.training.trainer import Stage

# Settings of the pipeline, and the field of SequenceMatchConfig that gives each.
OBJECTIVE = {name: name for name in ("divergence", "alpha", "gamma")}
ROLLOUTS = {
    "buffer": "rollout_buffer",
    "seen": "rollouts_seen",
    "generate": "rollouts_generated",
    "max_actions": "max_actions",
}


@dataclass
class SequenceMatchConfig(TrainingArguments):
    """The arguments of a ``SequenceMatchTrainer``: those of transformers, and those of the method (appendix E)."""

    eta: float = field(default=0.2, metadata={"help": "chance of a wrong token and its <bkspc> before each token"})
    noise_draws: int = field(default=2, metadata={"help": "noisings of each example, used in turn by epochs"})
    bc_steps: int = field(default=100, metadata={"help": "gradient steps of behavioural cloning alone, at the start"})
    beta_final: float = field(default=0.2, metadata={"help": "final weight of BC in beta L_BC + (1 - beta) L_SM"})
    beta_steps: int = field(default=100, metadata={"help": "steps over which that weight falls from 1"})
    divergence: str = field(default="chi2_mixture", metadata={"help": "kl, js, chi2, chi2_mixture or mle"})
    alpha: float = field(default=0.03, metadata={"help": "weight of the causal-entropy term"})
    gamma: float = field(default=0.95, metadata={"help": "discount"})
    rollout_buffer: int = field(default=1000, metadata={"help": "sequences in the replay buffer"})
    rollouts_seen: int = field(default=8, metadata={"help": "times each rollout is trained on, on average"})
    rollouts_generated: int = field(default=128, metadata={"help": "sequences per generation step"})
    max_actions: int = field(default=64, metadata={"help": "actions after which a rollout is cut off"})
    save_strategy: str = field(default="no", metadata={"help": "only 'no': save_model() writes the trained model"})

    def __post_init__(self):
        super().__post_init__()
        self.remove_unused_columns = False


class SequenceMatchTrainer(Trainer):
    """Trains a causal LM to imitate completions, mistakes deleted by ``<bkspc>``, with the SequenceMatch loss.

    model: a name on the hub, a folder, a causal LM of transformers, or a ``Policy``. train_dataset, eval_dataset: rows
    with ``prompt`` and ``completion``, each a text or a list of messages (TRL's formats), or a ``Corpus``.
    processing_class: a fast tokenizer; default: the one that comes with ``model``, if that is a name.

    Raises UserError where the model or its tokenizer does not fit the method, where an example is longer than the
    model's context, and under more than one process.
    """

    def __init__(
        self,
        model,
        args: SequenceMatchConfig | None = None,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        **options,
    ):
        args = args or SequenceMatchConfig(output_dir="sequencematch")
        if args.save_strategy != "no":
            raise UserError("save_strategy must be 'no': the replay buffer is in no checkpoint; use save_model()")
        self.method = args
        self.objective = settings_of(args, Objective, OBJECTIVE)
        rollouts = settings_of(args, Rollouts, ROLLOUTS)
        if isinstance(model, str) and processing_class is None:
            processing_class = AutoTokenizer.from_pretrained(model)
        policy = as_policy(model, getattr(processing_class, "eos_token_id", None), args.seed)
        if args.gradient_checkpointing:
            policy.lm.gradient_checkpointing_enable({"use_reentrant": False})
            args.gradient_checkpointing = False  # done: a Policy is no model of transformers
        self.tokenizer_of_policy = None if processing_class is None else tokenizer_of(processing_class, policy)
        corpus = self._corpus(train_dataset, policy, processing_class, args.eta, args.noise_draws)
        self.length, self.cloned = corpus.length, corpus.cloned(imitate_prompt=False)
        batch = args.train_batch_size * args.gradient_accumulation_steps
        if args.max_steps <= 0:
            args.max_steps = math.ceil(args.num_train_epochs * len(corpus) / batch)
        self.stage = Stage("sm", args.bc_steps, args.max_steps, args.max_steps, args.max_steps)
        steps, processes = args.max_steps - args.bc_steps, Processes()
        if processes.count > 1:
            raise UserError("SequenceMatchTrainer trains with one process; on several GPUs use the pipeline (make)")
        self.rollouts = RolloutSchedule(rollouts, corpus, batch, steps, args.seed, InProcess(policy), processes)
        self.measured: dict[str, list[float]] = defaultdict(list)
        if eval_dataset is not None:
            eval_dataset = self._corpus(eval_dataset, policy, processing_class, eta=0, draws=1).draws[0]
        stream = Stream(corpus, args.seed, args.max_steps * batch)
        super().__init__(
            model=policy,
            args=args,
            data_collator=list,
            train_dataset=stream,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **options,
        )
        self.model_accepts_loss_kwargs = True  # the loss is a part of a sum over the effective batch, no mean

    def _corpus(self, dataset, policy: Policy, processing_class, eta: float, draws: int) -> Corpus:
        if isinstance(dataset, Corpus):
            return dataset
        if self.tokenizer_of_policy is None:
            raise UserError("a dataset of texts needs processing_class, the model's tokenizer")
        rows, tokenizer = [] if dataset is None else list(dataset), self.tokenizer_of_policy
        if not rows:
            raise UserError("the dataset holds no rows: give rows with 'prompt' and 'completion'")
        examples = [encode(row, number, tokenizer, processing_class) for number, row in enumerate(rows, start=1)]
        for number, example in enumerate(examples, start=1):
            if (tokens := len(example.prompt) + len(example.completion)) > policy.context:
                raise UserError(
                    f"row {number} of the dataset takes {tokens} tokens, more than the model's context of "
                    f"{policy.context}: leave it out, or shorten it"
                )
        weights = random_noise(tokenizer, examples)
        split = noise_split(examples, eta, draws, weights, policy.bkspc, (self.method.seed, "noise"))
        columns = zip(split["prompt"], split["actions"], split["imitated"], strict=True)
        trajectories = [
            Trajectory(prompt=prompt, actions=actions, imitated=imitated) for prompt, actions, imitated in columns
        ]
        size = len(examples)
        return Corpus([trajectories[d * size : (d + 1) * size] for d in range(draws)], digest="")

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
            pops = sum(action >= self.model.bkspc for entry in entries for action in entry.actions)
            self.measured["pop_rate"].append(pops / sum(len(entry.actions) for entry in entries))
        transitions = sum(len(rollout.actions) for _, *rollouts in rows for rollout in rollouts)
        normaliser = Normaliser(
            trajectories=len(rows), length=self.length, cloned=self.cloned, model_transitions=transitions
        )
        ordered, size = by_length(rows, self.model.bkspc, share_prompts=False), self.args.train_batch_size
        batches = [(ordered[start : start + size], normaliser) for start in range(0, len(ordered), size)]
        return batches, torch.tensor(len(rows))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The share of these rows in the loss of the effective batch; BC alone in the first ``bc_steps`` steps."""
        rows, normaliser = inputs
        step = self.state.global_step
        scored = score_batch(self.accelerator.unwrap_model(model), rows, share_prompts=False, imitate_prompt=False)
        loss = FUNCTIONS["bc" if step < self.stage.start else "sm"]
        value, parts = loss(scored, normaliser, self.objective, self.stage.beta(step, self.method))
        for name, part in parts.items():
            self.measured[name].append(part * self.args.gradient_accumulation_steps)
        return (value, scored) if return_outputs else value

    @torch.no_grad()
    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Mean negative log-likelihood per action of clean completions."""
        scored = score_batch(self.accelerator.unwrap_model(model), [(t,) for t in inputs], False, False)
        return core.behavioural_cloning(scored.data.scores) / scored.data.scores.imitated.sum(), None, None

    def log(self, logs, *args, **kwargs):
        """Log the parts of the loss too: their means since the last time."""
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self.measured.items()}
            self.measured.clear()
        super().log(logs, *args, **kwargs)

    def train(self, resume_from_checkpoint=None, **options):
        """Train for ``max_steps``. Raises UserError if asked to resume."""
        if resume_from_checkpoint:
            raise UserError("SequenceMatchTrainer cannot resume a run; the pipeline can (make)")
        return super().train(**options)

    def save_model(self, output_dir=None, _internal_call=False):
        """Write a folder that transformers loads, and that deletes under ``generate(custom_generate=folder)``."""
        if self.tokenizer_of_policy is None:
            raise UserError("save_model needs processing_class, the model's tokenizer: the folder holds it too")
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_network(self.accelerator.unwrap_model(self.model), self.tokenizer_of_policy, folder)


class Stream(Dataset):
    """The examples in the order that gradient steps see them: ``length`` places of an endless shuffled stream."""

    def __init__(self, corpus: Corpus, seed: int, length: int):
        self.corpus, self.order, self.length = corpus, Order(len(corpus), seed, "examples"), length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> Trajectory:
        ((item, epoch),) = self.order.slice(place, 1)
        return self.corpus.example(item, epoch)


def settings_of(config: SequenceMatchConfig, section: type[SomeSection], fields: Mapping[str, str]) -> SomeSection:
    """Settings of the pipeline from the fields of a config. Raises UserError where a value is not allowed."""
    try:
        return section.model_validate({name: getattr(config, field) for name, field in fields.items()})
    except ValidationError as error:
        raise UserError(sentence(error, section, lambda at: fields[at[0]] if at else "")) from None


def as_policy(model, eos: int | None, seed: int) -> Policy:
    """A policy with ``<bkspc>`` around a model: its name or folder, the network itself, or a policy already.

    eos: the token that completions end in; rollouts end there too.
    """
    if isinstance(model, Policy):
        return model
    if isinstance(model, str):
        return new_policy(Model(source=model), 0, {"eos": eos}, backspace=True, seed=seed)
    torch.manual_seed(seed)
    name = type(model).__name__
    model.config.eos_token_id = end_tokens(model, eos, name)
    policy = Policy(model, backspace=True)
    check_fitness(policy, name)
    return policy


def encode(row: Mapping, number: int, tokenizer: Tokenizer, processing_class) -> Example:
    """A row with a prompt and a completion, both texts or both lists of messages, as ids; ``<eos>`` comes last."""
    missing = [name for name in ("prompt", "completion") if name not in row]
    if missing:
        raise UserError(f"row {number} of the dataset has no '{missing[0]}': each row needs a prompt and a completion")
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str) and isinstance(completion, str):
        return Example(tokenizer.prompt(prompt), tokenizer.completion(completion), 0, completion)
    if not all(isinstance(value, list) and value for value in (prompt, completion)):
        raise UserError(
            f"row {number} of the dataset: prompt and completion must be two texts or two lists of messages"
        )
    asked = _chat(processing_class, prompt, add_generation_prompt=True)
    whole = _chat(processing_class, [*prompt, *completion])
    if whole[: len(asked)] != asked:
        raise UserError(f"row {number} of the dataset: the chat template changes the prompt when an answer follows")
    answer, eos = whole[len(asked) :], tokenizer.special_ids["eos"]
    if eos in answer:
        answer = answer[: answer.index(eos)]
    return Example(asked, [*answer, eos], 0, tokenizer.decode(answer))


def _chat(processing_class, messages: Sequence[Mapping], **options) -> list[int]:
    text = processing_class.apply_chat_template(messages, tokenize=False, **options)
    return processing_class(text, add_special_tokens=False)["input_ids"]
