"""Trackers see what the metrics file says, and change no bit of it."""

from types import SimpleNamespace

import pytest
import torch
from support.training import a_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sequencematch.errors import UserError
from sequencematch.model.build import load_policy
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import tracked_accelerator, train


def trained(root, folder, tracker):
    policy, _ = load_policy(root / "base", backspace=True)
    run = a_run(root, policy, Stage("sm", 0, 4, 4, 4))
    run.schedule = run.schedule.model_copy(update={"metrics_every": 2})
    run.tracker, run.tracked = tracker, folder / "run" / "tracker"
    return train(run)[0], policy.state_dict()


@pytest.mark.slow
def test_a_tracker_sees_each_row_and_changes_no_bit(inputs, tmp_path):
    plain_metrics, plain_weights = trained(inputs, tmp_path, "none")
    metrics, weights = trained(inputs, tmp_path, "tensorboard")
    assert metrics == plain_metrics and len(metrics) == 2
    assert all(torch.equal(weights[name], plain_weights[name]) for name in weights)
    (events,) = (tmp_path / "run/tracker").rglob("events.*")
    found = EventAccumulator(str(events)).Reload()
    for name in metrics[0].keys() - {"step"}:
        logged = [(row["step"], pytest.approx(row[name])) for row in metrics if row.get(name) is not None]
        assert [(event.step, event.value) for event in found.Scalars(name)] == logged


def test_a_tracker_that_is_unknown_or_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    run = SimpleNamespace(tracker="wandb", tracked=tmp_path / "tracker", precision="float32")
    with pytest.raises(UserError, match="tracker 'wandb' is not installed: pip install"):
        tracked_accelerator(run)
    run.tracker = "notebook"
    with pytest.raises(UserError, match="tracker 'notebook' .* is unknown; known are: none, "):
        tracked_accelerator(run)
