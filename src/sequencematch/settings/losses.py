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
KEPT: Settings = {
    "optimiser": None,
    "schedule": CLEAN | {"bkspc_start"},
    "objective": {"imitate_noise", "imitate_prompt"},
}


@dataclass(frozen=True)
class Loss:
    """A loss by its properties.

    title: its name in words. noised: whether it trains on noised data, at every noise level; otherwise it trains on
    clean data. backspace: whether its policy has ``<bkspc>``. history: what the policy reads of deleted tokens
    (``Policy.keep``); ``erase`` is nothing, as in the paper.
    rollouts: whether it also trains on rollouts. relabels: whether the expert relabels them, which needs a reference
    completion. reads: the settings that ``finetune`` needs for it.
    """

    title: str
    noised: bool
    backspace: bool
    rollouts: bool
    reads: Settings
    relabels: bool = False
    history: str = "erase"

    @property
    def continues_bc(self) -> bool:
        """Whether it starts from the k steps of BC; otherwise from the base model."""
        return self.noised and self.history == "erase"

    @property
    def plain(self) -> bool:
        """Whether it trains an ordinary language model: on clean data alone, without ``<bkspc>``."""
        return not (self.noised or self.backspace or self.rollouts)

    @property
    def annealed(self) -> bool:
        """Whether it is mixed with BC, whose weight beta falls during training."""
        schedule = self.reads["schedule"]
        return schedule is None or "beta_final" in schedule


LOSSES = {
    "mle": Loss(
        "maximum likelihood",
        noised=False,
        backspace=False,
        rollouts=False,
        reads={"optimiser": None, "schedule": CLEAN, "objective": {"imitate_prompt"}},
    ),
    "uls": Loss(
        "unlikelihood",
        noised=False,
        backspace=False,
        rollouts=True,
        reads={
            "optimiser": None,
            "schedule": CLEAN,
            "objective": {"imitate_prompt", "uls_ngram", "uls_weight"},
            "rollouts": None,
        },
    ),
    "iq": Loss(
        "maximum likelihood with squared rewards",
        noised=False,
        backspace=False,
        rollouts=False,
        reads={"optimiser": None, "schedule": CLEAN, "objective": {"imitate_prompt", "gamma", "iq_weight"}},
    ),
    "bc": Loss(
        "behavioural cloning",
        noised=True,
        backspace=True,
        rollouts=False,
        reads={"optimiser": None, "schedule": NOISED, "objective": {"imitate_noise", "imitate_prompt"}},
    ),
    "sm": Loss(
        "SequenceMatch",
        noised=True,
        backspace=True,
        rollouts=True,
        reads={
            "optimiser": None,
            "schedule": NOISED | {"beta_final", "beta_steps"},
            "objective": {
                *("divergence", "alpha", "gamma", "weighting", "c", "beta_mix", "js_delta", "value_from"),
                *("imitate_noise", "imitate_prompt"),
            },
            "rollouts": None,
        },
    ),
    "dagger": Loss(
        "imitation of the expert's answers to the policy's own rollouts",
        noised=True,
        backspace=True,
        rollouts=True,
        reads={
            "optimiser": None,
            "schedule": NOISED,
            "objective": {"imitate_noise", "imitate_prompt"},
            "rollouts": None,
        },
        relabels=True,
    ),
    "keep": Loss(
        "behavioural cloning that keeps deleted tokens as inputs",
        noised=True,
        backspace=True,
        rollouts=False,
        reads=KEPT,
        history="keep",
    ),
    "rewind": Loss(
        "behavioural cloning that keeps deleted tokens, at the positions of live ones",
        noised=True,
        backspace=True,
        rollouts=False,
        reads=KEPT,
        history="rewind",
    ),
}

# What the stages before fine-tuning read. The base model is trained by MLE, the k steps after it by BC.
BASE_READS: Settings = {
    "optimiser": None,
    "schedule": INTERVALS | {"base_steps"},
    "objective": LOSSES["mle"].reads["objective"],
}
BC_READS: Settings = LOSSES["bc"].reads
