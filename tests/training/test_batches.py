"""Which examples a gradient step sees, and that none counts more than another."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from support.networks import BKSPC, random_row, tiny_policy

from sequencematch.core import Scores, Trajectory, state_tree
from sequencematch.data.noise import inject
from sequencematch.data.phrases import phrases
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.training.batches import Batches, Corpus, Order, by_length, nodes
from sequencematch.training.losses import FUNCTIONS, Scored, ScoredBatch
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import Run, Trainer


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


def products(n: int, rng: random.Random) -> list[tuple[list[int], list[int]]]:
    """Questions and answers as digits; answers of one to five digits, <eos> included."""
    pairs = [(rng.randrange(1, 100), rng.randrange(1, 1000)) for _ in range(n)]
    return [([0, *(int(d) % 8 for d in f"{a}{b}")], [*(3 + int(d) % 5 for d in str(a * b)), 2]) for a, b in pairs]


def sentences(n: int, rng: random.Random) -> list[tuple[list[int], list[int]]]:
    """Generated phrases and their translations as characters."""
    pairs = itertools.islice(phrases(1), n)
    return [([0, *(ord(c) % 7 for c in s)], [*(3 + ord(c) % 5 for c in t), 2]) for s, t in pairs]


def passages(n: int, rng: random.Random) -> list[tuple[list[int], list[int]]]:
    """Passages of one length, cut off."""
    return [([0, *rng.choices(range(3, 8), k=7)], rng.choices(range(3, 8), k=16)) for _ in range(n)]


def noised(make, n=320, eta=0.2) -> Corpus:
    rng, numbers = random.Random(3), np.random.default_rng(3)
    draw = [
        Trajectory(prompt=prompt, actions=actions, imitated=imitated, ended=completion[-1] == 2)
        for prompt, completion in make(n, rng)
        for actions, imitated in [inject(completion, eta, lambda *_: 5, BKSPC, numbers)]
    ]
    return Corpus([draw], "digest")


def a_trainer(source: Corpus, loss: str, objective: Objective, tmp_path) -> Trainer:
    policy = tiny_policy()
    policy.context = 512
    policy.backspace = LOSSES[loss].backspace
    return Trainer(
        Run(
            policy=policy,
            train=source,
            validation=source,
            stage=Stage(loss, 0, 40, 40, 40),
            optimiser=Optimiser(batch=32, micro_batch=8),
            schedule=Schedule(),
            objective=objective,
            rollouts=Rollouts(generate=64, seen=2, max_actions=12),
            seed=1,
            resume=tmp_path / "none",
        )
    )


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
    weights, shifts = [], []
    for _ in range(steps):
        rows, _ = trainer.rows()
        trainer.step += 1
        normaliser = trainer.normaliser(rows)
        ordered = by_length(rows, BKSPC, False)
        for start in range(0, len(ordered), 8):
            part = ordered[start : start + 8]
            columns = [state_tree([[row[k]] for row in part], BKSPC)[1][0] for k in range(len(part[0]))]
            scored = [flat(index, True) for index in columns]
            batch = ScoredBatch(*(Scored(i, s) for i, s in zip(columns, scored, strict=True)))
            loss, _ = FUNCTIONS[trainer.stage.loss](batch, normaliser, trainer.run.objective, 0.0)
            loss.backward()
            first = columns[0].imitated.double().argmax(1)
            slope = scored[0].logit.grad[torch.arange(len(part)), first]
            weights += [(nodes(row[0], BKSPC), s) for row, s in zip(part, slope.tolist(), strict=True)]
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


@pytest.mark.parametrize("make", [products, sentences, passages])
@pytest.mark.parametrize("loss", ["mle", "bc"])
def test_the_weight_of_a_sequence_does_not_depend_on_its_length(make, loss, tmp_path):
    source = noised(make, eta=0.0 if loss == "mle" else 0.2)
    weights, _ = derivatives(a_trainer(source, loss, Objective(), tmp_path), 20)
    lengths, slopes = map(np.array, zip(*weights, strict=True))
    assert lengths.std() > 0 or (make is passages and loss == "mle")
    assert np.all(slopes < 0)
    # Exactly the same weight, so that no correlation is left to estimate.
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-12)


@pytest.mark.parametrize("make", [products, sentences])
@pytest.mark.parametrize("value_from", ["data", "both"])
def test_law_6b_no_first_value_is_pushed_on_average(make, value_from, tmp_path):
    """phi(x) = x: the mean of d loss / d V(s_0) is zero within three standard errors, over prompts of any length."""
    source = noised(make)
    objective = Objective(divergence="mle", value_from=value_from, gamma=0.9)
    _, shifts = derivatives(a_trainer(source, "sm", objective, tmp_path), 30)
    lengths, slopes = map(np.array, zip(*shifts, strict=True))
    for group in (lengths <= np.median(lengths), lengths > np.median(lengths)):
        if group.sum() < 50:
            continue
        error = slopes[group].std(ddof=1) / np.sqrt(group.sum())
        assert abs(slopes[group].mean()) <= 3 * error + 1e-15
    if value_from == "data":
        assert np.abs(slopes).max() < 1e-12
