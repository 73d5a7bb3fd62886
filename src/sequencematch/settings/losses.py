"""The losses: what each trains on, and which settings a job that trains by it reads.

All else takes this from here: the configuration, the rules of the workflow, the training scripts, tables and model
cards. ``training/losses.py`` has the function of each loss. This module imports nothing, so that a table does not
depend on the settings of training.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

# Names of settings, by section; None means all settings of a section.
Settings = Mapping[str, Collection[str] | None]

# Steps between rows of the metrics file, between validation losses and between checkpoints: every training reads them.
INTERVALS = frozenset({"metrics_every", "validate_every", "checkpoint_every"})
CLEAN = INTERVALS | {"steps", "decay_start"}
NOISED = CLEAN | {"pretrain_steps", "bkspc_start"}
# What imitation reads, which is a part of every loss; and that of noised data.
CLONING = frozenset({"imitate_prompt", "label_smoothing"})
CLONED = CLONING | {"imitate_noise"}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss by its properties."""

    title: str  # its name in words
    noised: bool = False  # trains on noised data, at every noise level, and has ``<bkspc>``; otherwise on clean data
    rollouts: bool = False  # trains on rollouts too
    relabels: bool = False  # the expert relabels them, which needs a reference completion
    head: bool = False  # a deletion head is trained at the end, on the network that is then frozen
    history: str = "erase"  # what the policy reads of deleted tokens (``Policy.keep``): nothing, as in the paper
    schedule: Collection[str] = frozenset(CLEAN)  # the settings of this section that ``finetune`` needs for it
    objective: Collection[str] = CLONING  # the same

    @property
    def reads(self) -> Settings:
        """The settings that ``finetune`` needs for it: all of the optimiser, and of rollouts if it has some."""
        reads: Settings = {"optimiser": None, "schedule": self.schedule, "objective": self.objective}
        return {**reads, "rollouts": None} if self.rollouts else reads

    @property
    def backspace(self) -> bool:
        """Whether its policy has ``<bkspc>``: clean data do not show it."""
        return self.noised

    @property
    def continues_bc(self) -> bool:
        """Whether it starts from the k steps of BC; otherwise from the base model."""
        return self.noised and self.history == "erase"

    @property
    def plain(self) -> bool:
        """Whether it trains an ordinary language model and no more: on clean data alone, without ``<bkspc>``."""
        return not (self.noised or self.rollouts or self.head)

    def examples(self, batch: int) -> int:
        """Examples in a batch of so many sequences. Relabelled rollouts are imitated as they are: half of it."""
        return batch // 2 if self.relabels else batch


SCHEDULE_OF_SM = NOISED | {"beta_final", "beta_steps"}
OBJECTIVE_OF_SM = CLONED | {"divergence", "alpha", "gamma", "weighting", "c", "beta_mix", "js_delta", "value_from"}
KEPT = CLEAN | {"bkspc_start"}
LOSSES = {
    "mle": Loss(title="maximum likelihood"),
    "head": Loss(title="maximum likelihood, then a deletion head on the frozen network", head=True),
    "uls": Loss(title="unlikelihood", rollouts=True, objective=CLONING | {"uls_ngram", "uls_weight"}),
    "iq": Loss(title="maximum likelihood with squared rewards", objective=CLONING | {"gamma", "iq_weight"}),
    "bc": Loss(title="behavioural cloning", noised=True, schedule=NOISED, objective=CLONED),
    "sm": Loss(title="SequenceMatch", noised=True, rollouts=True, schedule=SCHEDULE_OF_SM, objective=OBJECTIVE_OF_SM),
    "dagger": Loss(
        title="imitation of the expert's answers to the policy's own rollouts",
        noised=True,
        rollouts=True,
        relabels=True,
        schedule=NOISED,
        objective=CLONED,
    ),
    "keep": Loss(
        title="behavioural cloning that keeps deleted tokens as inputs",
        noised=True,
        history="keep",
        schedule=KEPT,
        objective=CLONED,
    ),
    "rewind": Loss(
        title="behavioural cloning that keeps deleted tokens, at the positions of live ones",
        noised=True,
        history="rewind",
        schedule=KEPT,
        objective=CLONED,
    ),
}

# What the stages before fine-tuning read. The base model is trained by MLE, the k steps after it by BC.
BASE_READS: Settings = {
    "optimiser": None,
    "schedule": INTERVALS | {"base_steps"},
    "objective": LOSSES["mle"].reads["objective"],
}
BC_READS: Settings = LOSSES["bc"].reads
