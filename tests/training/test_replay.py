"""The replay buffer and the schedule of generations: what appendix E says about them, as laws."""

import io
from collections import Counter
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sequencematch.training.replay import Entry, ReplayBuffer, generation_due

RNG = np.random.default_rng


def entries(first, last, step=0):
    return [Entry(i, [i, i + 1], i % 2 == 0, step) for i in range(first, last)]


def test_the_oldest_leave_first():
    buffer = ReplayBuffer(5)
    buffer.add(entries(0, 3))
    buffer.add(entries(3, 7))
    assert [entry.example for entry in buffer.entries] == [2, 3, 4, 5, 6]


def test_draws_are_uniform_and_without_replacement():
    buffer = ReplayBuffer(10)
    buffer.add(entries(0, 10))
    rng, drawn = RNG(0), Counter()
    for _ in range(3000):
        batch = [entry.example for entry in buffer.draw(4, rng)]
        assert len(set(batch)) == 4
        drawn.update(batch)
    expected = 3000 * 4 / 10
    deviation = (3000 * 0.4 * 0.6) ** 0.5
    assert set(drawn) == set(range(10))
    assert all(abs(count - expected) < 4.5 * deviation for count in drawn.values())


def test_saved_and_loaded_it_draws_the_same():
    buffer = ReplayBuffer(6)
    buffer.add(entries(0, 9, step=4))
    file = io.BytesIO()
    torch.save(buffer.state_dict(), file)
    file.seek(0)
    copy = ReplayBuffer(6)
    copy.add(entries(50, 52))
    copy.load_state_dict(torch.load(file, weights_only=True))
    assert copy.entries == buffer.entries
    assert copy.draw(3, RNG(1)) == buffer.draw(3, RNG(1))
    copy.add(entries(20, 21))
    assert [entry.example for entry in copy.entries] == [4, 5, 6, 7, 8, 20]


def test_ages_count_gradient_steps():
    buffer = ReplayBuffer(4)
    buffer.add(entries(0, 3, step=10))
    buffer.add(entries(3, 5, step=16))
    assert buffer.ages(18).tolist() == [8, 8, 2, 2]


@given(st.integers(1, 300), st.integers(1, 16), st.integers(1, 300))
def test_generations_come_at_the_interval_exactly_on_average(generate, seen, batch):
    interval = max(Fraction(1), Fraction(generate * seen, batch))
    due = [step for step in range(400) if generation_due(step, interval)]
    assert due[0] == 0
    assert all(k * interval <= step < k * interval + 1 for k, step in enumerate(due))
    assert len(due) * interval > 399  # none is missing at the end
