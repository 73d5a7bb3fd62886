"""The registry of losses says what training really reads."""

import sys

import pytest
import yaml
from support.changes import SETTINGS
from support.experiment import command, finetune_options
from support.workflow import load_script

from sequencematch.settings.losses import BASE_READS, LOSSES
from sequencematch.settings.options import settings_from
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.training.losses import FUNCTIONS

SECTIONS = (Optimiser, Schedule, Objective, Rollouts)
# Another value for every setting but the optimiser's, which all losses read.
CHANGED = {}
for name, values, _ in SETTINGS:
    if name in ("schedule", "objective", "rollouts"):
        CHANGED.setdefault(name, {}).update(yaml.safe_load(f"{{{values}}}"))
CHANGED["schedule"]["bkspc_start"] = "noise"
# Read under a condition: where rollouts are concurrent; where the k steps of BC were none.
SOMETIMES = {"staleness", "bkspc_start"}


def settings_read(loss):
    """All that is listed, as (section, setting)."""
    reads = LOSSES[loss].reads
    fields = {section.group(): section.model_fields.keys() for section in SECTIONS}
    return {(name, key) for name, keys in reads.items() for key in (fields[name] if keys is None else keys)}


def test_every_loss_has_a_function_and_lists_settings_that_exist():
    assert LOSSES.keys() == FUNCTIONS.keys()
    existing = {(section.group(), key) for section in SECTIONS for key in section.model_fields}
    for loss in LOSSES:
        assert settings_read(loss) <= existing
        assert ("rollouts", "generate") in settings_read(loss) or not LOSSES[loss].rollouts
    assert {(name, key) for name, keys in BASE_READS.items() for key in keys or ()} <= existing
    assert {(name, key) for name, keys in CHANGED.items() for key in keys} | {
        ("optimiser", key) for key in Optimiser.model_fields
    } == existing


def settings_of_a_run(monkeypatch, options):
    """The settings that ``finetune`` reads."""
    finetune = load_script("src/finetune.py")
    original, read = settings_from, set()

    def recorded(args, section, needed):
        class Recorded(section):
            def __getattribute__(self, name):
                if name in section.model_fields:
                    read.add((section.group(), name))
                return super().__getattribute__(name)

        return Recorded.model_construct(**dict(original(args, section, needed)))

    monkeypatch.setattr("sequencematch.settings.training.settings_from", recorded)
    monkeypatch.setattr(sys, "argv", command("finetune", **options)[1:])
    finetune.main()
    return read


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_reads_what_it_lists_and_nothing_else_matters(inputs, finetuned, tmp_path, monkeypatch, loss):
    listed = settings_read(loss)
    unlisted = {
        key: value
        for section, values in CHANGED.items()
        for key, value in values.items()
        if (section, key) not in listed
    }
    read = settings_of_a_run(monkeypatch, finetune_options(inputs, tmp_path / "changed", loss) | unlisted)
    assert {(section, key) for section, key in listed if key not in SOMETIMES} <= read
    for name in ("lm.safetensors", "actions.safetensors"):
        assert (tmp_path / "changed" / name).read_bytes() == (finetuned(loss) / name).read_bytes()
