"""What passes from the data and the settings to the objective: each wire was cut once without a fast test failing."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from support.tiny import a_policy

from sequencematch.core import Trajectory
from sequencematch.settings.model import Model
from sequencematch.settings.training import Optimiser, Rollouts, Schedule
from sequencematch.store.datasets import save
from sequencematch.training import job as module
from sequencematch.training.batches import Corpus, load_corpora
from sequencematch.training.job import Settings, Start
from sequencematch.training.replay import Entry
from sequencematch.training.rollouts import RolloutSchedule
from sequencematch.training.schedule import Stage

EOS = 2
ANSWER = Trajectory(prompt=[1], actions=[5, EOS], imitated=[True] * 2)


def test_an_answer_has_ended_and_a_passage_is_cut_off(tmp_path):
    rows = {"draw": [0, 0], "prompt": [[1], [1]], "actions": [[5, EOS], [5, 6]], "imitated": [[True] * 2] * 2}
    save({"train": rows, "validation": rows}, tmp_path / "noised", {})
    for corpus in load_corpora(tmp_path / "noised", EOS):
        assert [trajectory.ended for trajectory in corpus.draws[0]] == [True, False]


@pytest.mark.parametrize("finished", [True, False])
def test_a_rollout_has_ended_where_it_finished(finished):
    rollouts = RolloutSchedule(Rollouts(), Corpus([[ANSWER]], "digest"), 1, 1, 0, None, None)
    assert rollouts.trajectory(Entry(0, [5, 6], finished, step=0)).ended == finished


def test_the_row_of_bkspc_is_set_before_training(tmp_path, monkeypatch):
    """Where a stage gives <bkspc> to a policy that comes without it."""
    corpora = Corpus([[ANSWER]], "digest"), Corpus([[ANSWER]], "digest")
    monkeypatch.setattr(module.batches, "load_corpora", lambda *_: corpora)
    monkeypatch.setattr(module.provenance, "check_one_tokenizer", lambda *_: None)
    monkeypatch.setattr(module.description, "read_description", lambda _: SimpleNamespace(backspace=False))
    for name in ("_weights_digest", "code_digest"):
        monkeypatch.setattr(module, name, lambda *_: "")
    policy = a_policy()
    args = Namespace(tokenizer=tmp_path, noised=tmp_path, resume=tmp_path, output=tmp_path, initial="", seed=1)
    tokenizer = SimpleNamespace(special_ids={"eos": EOS}, check_belongs=lambda *_: None)
    settings = Settings(Optimiser(), Schedule(bkspc_start="mean"))
    module._prepare(args, Stage("bc", 0, 1, 0, 1), Start(policy, Model(), folder=tmp_path), settings, tokenizer)
    assert torch.equal(policy.bkspc_row, policy.lm.get_output_embeddings().weight.mean(0))
