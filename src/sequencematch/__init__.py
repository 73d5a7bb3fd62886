"""SequenceMatch: language models trained by imitation learning, with a backspace action.

The public surface, all of it importable from here (``__init__.pyi`` says the same to type checkers):

- masking: ``Trajectory``, ``state_tree``, ``algorithm_2``, ``live_tokens``, ``Inputs``, ``StateIndex``;
- objective: ``score``, ``Scores``, ``Objective``, ``Normaliser``, ``sequence_match``, ``behavioural_cloning``, and
  its parts ``rewards``, ``data_objective``, ``rollout_objective``, ``DIVERGENCES``;
- models: ``Policy`` around any causal LM of transformers, ``load_policy``, ``export_model``;
- sampling: ``sample``, ``Decoding``, ``Rollout``; ``inject`` puts mistakes and their repair into data;
- training: ``SequenceMatchTrainer`` and ``SequenceMatchConfig``, on ``transformers.Trainer``; ``train_deletion_head``;
- ``UserError``: what the user can fix, in one sentence.

A name's module is imported when the name is first used: ``import sequencematch`` alone imports nothing, the
masking and the objective import torch alone.
"""

import importlib

__version__ = "0.1.0"

# Imported by name: the statement ``from sequencematch.core import ...`` would import torch here and now.
_MODULES = {
    "core": "DIVERGENCES Trajectory Inputs Normaliser Objective Scores StateIndex algorithm_2 behavioural_cloning "
    "data_objective live_tokens rewards rollout_objective score sequence_match state_tree",
    "sampling.decoding": "Decoding",
    "errors": "UserError",
    "export.folder": "export_model",
    "data.noise": "inject",
    "model.build": "load_policy",
    "model.policy": "Policy",
    "sampling.rollout": "Rollout sample",
    "transformers_trainer.arguments": "SequenceMatchConfig",
    "transformers_trainer.deletion_head": "train_deletion_head",
    "transformers_trainer.trainer": "SequenceMatchTrainer",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'sequencematch' has no attribute '{name}'")
    return getattr(importlib.import_module(f"sequencematch.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
