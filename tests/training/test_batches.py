"""Which examples a gradient step sees, and that none counts more than another."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.networks import BKSPC, random_row
from support.training import a_run

from sequencematch.core import Scores, Trajectory, state_tree
from sequencematch.model.build import load_policy
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import Objective
from sequencematch.training.batches import Batches, Corpus, Order, by_length, divisors, nodes
from sequencematch.training.losses import FUNCTIONS, Scored, ScoredBatch
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import Trainer


def corpus(n: int) -> Corpus:
    """Two draws of n examples whose prompt is their number and whose length varies."""
    return Corpus(
        [
            [
                Trajectory(prompt=[i], actions=[draw] * (1 + i * 7 % 11), imitated=[True] * (1 + i * 7 % 11))
                for i in range(n)
            ]
            for draw in range(2)
        ],
        "digest",
    )


def test_each_epoch_is_a_permutation_and_any_slice_stands_alone():
    order = Order(10, 1, "stream")
    places = list(order.slice(0, 40))
    for epoch in range(4):
        assert sorted(item for item, e in places if e == epoch) == list(range(10))
    assert list(Order(10, 1, "stream").slice(17, 6)) == places[17:23]
    assert list(Order(10, 2, "stream").slice(0, 40)) != places


def test_batches_are_the_stream_in_its_order():
    source, size = corpus(64), 4
    batches = Batches(source, size, 1, "stream")
    steps = [batches[step] for step in range(32)]  # two epochs, one of each draw
    seen = Counter((e.prompt[0], e.actions[0]) for batch in steps for e in batch)
    assert seen == Counter((i, draw) for i in range(64) for draw in range(2))
    assert Batches(source, size, 1, "stream")[13] == steps[13]


def test_length_is_what_is_encoded():
    """A deleted token is encoded, its ``<bkspc>`` is not."""
    assert nodes(Trajectory(prompt=[1, 2], actions=[3, BKSPC, 4], imitated=[True] * 3), BKSPC) == 4


@pytest.mark.parametrize("shared", [False, True])
def test_rows_of_like_length_stand_together_and_none_is_lost(shared):
    rng = random.Random(0)
    rows = [tuple(random_row(rng)) for _ in range(40)]
    ordered = by_length(rows, BKSPC, shared)

    def key(trajectory):
        return (tuple(trajectory.prompt), tuple(trajectory.actions), trajectory.ended)

    for column in range(2):
        before, after = ([key(row[column]) for row in each] for each in (rows, ordered))
        assert sorted(before) == sorted(after)
    if shared:
        assert sorted(tuple(map(key, row)) for row in rows) == sorted(tuple(map(key, row)) for row in ordered)
        lengths = [sum(nodes(t, BKSPC) for t in row) for row in ordered]
        assert lengths == sorted(lengths)
    else:
        for column in zip(*ordered, strict=True):
            lengths = [nodes(t, BKSPC) for t in column]
            assert lengths == sorted(lengths)


def test_means_of_a_corpus():
    source = Corpus(
        [
            [Trajectory(prompt=[1, 2, 3], actions=[4, 5], imitated=[False, True])],
            [Trajectory(prompt=[1], actions=[4] * 4, imitated=[True] * 4)],
        ],
        "digest",
    )
    assert (source.length, source.cloned(False), source.cloned(True)) == (3.0, 2.5, 3.5)


# ---- fairness, on real noised data, in the order in which training sees it ---------------------------


@pytest.fixture
def trainer(inputs):
    def of(loss, objective=None):
        policy, _ = load_policy(inputs / "base", backspace=LOSSES[loss].backspace)
        plan = a_run(inputs, policy, Stage(loss, 0, 40, 40, 40))
        return Trainer(replace(plan, objective=objective or Objective()))

    return of


def flat(batch, requires_grad):
    """Scores with free V and l, 0 everywhere, of encoded trajectories."""
    shape = batch.taken.shape
    logit = torch.zeros(shape, dtype=torch.float64, requires_grad=requires_grad)
    value = torch.zeros(shape[0], shape[1] + 1, dtype=torch.float64, requires_grad=requires_grad)
    return Scores(
        logit=logit, mean_logit=logit, value=value, taken=batch.taken, imitated=batch.imitated, ended=batch.ended
    )


def derivatives(trainer: Trainer, steps: int):
    """Of every row that training sees, in ``steps`` gradient steps: (tokens of data, d loss / d log pi of its first
    imitated action), and per step (d loss / d V(s_0) of data and of rollouts, with phi(x) = x)."""
    weights, shifts, bkspc = [], [], trainer.run.policy.bkspc
    for _ in range(steps):
        rows, _ = trainer.rows()
        trainer.step += 1
        normaliser = divisors(rows, trainer.length, trainer.cloned)
        ordered = by_length(rows, bkspc, False)
        for start in range(0, len(ordered), 8):
            part = ordered[start : start + 8]
            columns = [state_tree([[row[k]] for row in part], bkspc)[1][0] for k in range(len(part[0]))]
            scored = [flat(index, True) for index in columns]
            batch = ScoredBatch(*(Scored(i, s) for i, s in zip(columns, scored, strict=True)))
            loss, _ = FUNCTIONS[trainer.stage.loss](batch, normaliser, trainer.run.objective, 0.0)
            loss.backward()
            first = columns[0].imitated.double().argmax(1)
            slope = scored[0].logit.grad[torch.arange(len(part)), first]
            weights += [(nodes(row[0], bkspc), s) for row, s in zip(part, slope.tolist(), strict=True)]
            # A constant added to all logits of s_0 moves V(s_0) and l(a_0|s_0) together.
            shift = [
                (s.value.grad[:, 0] + s.logit.grad[:, 0]).tolist() if s.value.grad is not None else [0.0] * len(part)
                for s in scored
            ]
            shifts += [
                (len(t.prompt), s)
                for k, moved in enumerate(shift)
                for t, s in zip([r[k] for r in part], moved, strict=True)
            ]
    return weights, shifts


@pytest.mark.parametrize("loss", ["mle", "bc"])
def test_the_weight_of_a_sequence_does_not_depend_on_its_length(trainer, loss):
    weights, _ = derivatives(trainer(loss), 20)
    lengths, slopes = map(np.array, zip(*weights, strict=True))
    assert lengths.std() > 0 and np.all(slopes < 0)
    # Exactly the same weight, so that no correlation is left to estimate.
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-12)


@pytest.mark.parametrize("value_from", ["data", "both"])
def test_law_6b_no_first_value_is_pushed_on_average(trainer, value_from):
    """phi(x) = x: the mean of d loss / d V(s_0) is zero within three standard errors, over prompts of any length."""
    objective = Objective(divergence="mle", value_from=value_from, gamma=0.9)
    _, shifts = derivatives(trainer("sm", objective), 60)
    lengths, slopes = map(np.array, zip(*shifts, strict=True))
    for group in (lengths <= np.median(lengths), lengths > np.median(lengths)):
        error = slopes[group].std(ddof=1) / np.sqrt(group.sum())
        assert group.sum() >= 50 and abs(slopes[group].mean()) <= 3 * error + 1e-15
    if value_from == "data":
        assert np.abs(slopes).max() < 1e-12
