"""What a training stage refuses before its first step."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from support.experiment import finetune_options, run

from sequencematch.core import Trajectory
from sequencematch.errors import UserError
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import Rollouts
from sequencematch.training.batches import Corpus
from sequencematch.training.data_checks import check_data

BKSPC = 9
CLEAN, NOISED = (
    Trajectory(prompt=[1], actions=[5, 2], imitated=[True] * 2),
    Trajectory(prompt=[1], actions=[4, BKSPC, 5, 2], imitated=[False, True, True, True]),
)


def check(train, validation, loss="mle", context=100, max_actions=1):
    inputs = BKSPC + (LOSSES[loss].history != "erase")
    policy = SimpleNamespace(backspace=LOSSES[loss].backspace, bkspc=BKSPC, inputs=inputs, deletions=1, context=context)
    corpora = Corpus([[example] for example in train], "d"), Corpus([validation], "d")
    check_data(Path("noised"), loss, policy, corpora, Rollouts(max_actions=max_actions))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("train", "validation"), [([CLEAN, NOISED], [CLEAN]), ([CLEAN], [CLEAN, NOISED])])
def test_losses_without_backspace_train_on_clean_examples_alone(loss, train, validation):
    check([CLEAN], [CLEAN], loss)
    if LOSSES[loss].backspace:
        check(train, validation, loss)
        return
    with pytest.raises(UserError, match=f"'noised' were noised, and the loss {loss} trains on clean ones.*--eta 0"):
        check(train, validation, loss)


def test_no_more_tokens_are_deleted_at_once_than_the_model_can():
    twice = Trajectory(prompt=[1], actions=[4, 5, BKSPC + 1, 2], imitated=[False, False, True, True])
    with pytest.raises(UserError, match="'noised' delete 2 tokens at once, and the model at most 1"):
        check([CLEAN], [twice], "bc")


def test_deleted_tokens_take_no_room_in_the_context_unless_they_are_kept():
    deep = Trajectory(prompt=[1], actions=[4, 5, 6, BKSPC, BKSPC, BKSPC, 2], imitated=[True] * 7)
    check([deep], [CLEAN], "bc", context=4)
    check([deep], [CLEAN], "keep", context=8)
    with pytest.raises(UserError, match="'noised' reaches 8 tokens, more than the model's context of 7"):
        check([deep], [CLEAN], "keep", context=7)
    with pytest.raises(UserError, match="'noised' reaches 4 tokens, more than the model's context of 3"):
        check([deep], [CLEAN], "bc", context=3)
    with pytest.raises(UserError, match="reaches 4 tokens"):
        check([CLEAN], [deep], "bc", context=3)


@pytest.mark.parametrize("loss", LOSSES)
def test_rollouts_fit_beside_the_longest_prompt(loss):
    check([CLEAN], [CLEAN], loss, context=5, max_actions=4)
    if not LOSSES[loss].rollouts:
        check([CLEAN], [CLEAN], loss, context=5, max_actions=5)
        return
    with pytest.raises(UserError, match="rollouts.max_actions is 5, but must be at most 4"):
        check([CLEAN], [CLEAN], loss, context=5, max_actions=5)


@pytest.mark.slow
def test_a_stage_on_noised_data_ends_in_one_sentence(inputs, tmp_path):
    options = finetune_options(inputs, tmp_path / "out", "mle") | {"noised": inputs / "noised-0.2"}
    failed = run("finetune", **options, check=False)
    assert failed.returncode == 1 and "trains on clean ones" in failed.stderr and "Traceback" not in failed.stderr
    assert not (tmp_path / "out").exists()
