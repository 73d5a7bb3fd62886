"""Which examples a gradient step sees: every example once an epoch, like lengths together, no state to lose."""

from collections import Counter

from sequencematch.core import Trajectory
from sequencematch.training.batches import Batches, Corpus, Order, nodes, of_like_length

BKSPC = 99


def corpus(n: int) -> Corpus:
    """Two draws of n examples whose prompt is their number and whose length varies."""
    return Corpus(
        [[Trajectory([i], [draw] * (1 + i * 7 % 11), [True]) for i in range(n)] for draw in range(2)], "digest"
    )


def test_each_epoch_is_a_permutation_and_any_slice_stands_alone():
    order = Order(10, 1, "stream")
    places = list(order.slice(0, 40))
    for epoch in range(4):
        assert sorted(item for item, e in places if e == epoch) == list(range(10))
    assert list(Order(10, 1, "stream").slice(17, 6)) == places[17:23]
    assert list(Order(10, 2, "stream").slice(0, 40)) != places


def test_batches_hold_the_stream_with_like_lengths_together():
    source, size = corpus(64), 4
    batches = Batches(source, size, BKSPC, 1, "stream")
    steps = [batches[step] for step in range(32)]  # two epochs, one of each draw
    seen = Counter((e.prompt[0], e.actions[0]) for batch in steps for e in batch)
    assert seen == Counter((i, draw) for i in range(64) for draw in range(2))
    lengths = [[len(e.actions) for e in batch] for batch in steps]
    padding = 1 - sum(map(sum, lengths)) / sum(max(batch) * size for batch in lengths)
    assert padding < 0.15
    means = [sum(batch) for batch in lengths[:8]]
    assert means != sorted(means), "short batches must not always come first"
    assert Batches(source, size, BKSPC, 1, "stream")[13] == steps[13]


def test_length_is_what_is_encoded_and_batches_of_like_length_lose_nothing():
    """A deleted token is encoded, its ``<bkspc>`` is not."""
    assert nodes(Trajectory([1, 2], [3, BKSPC, 4], [True] * 3), BKSPC) == 4
    words = ["a" * (7 * i % 12) for i in range(12)]
    batches = of_like_length(words, 4, len)
    assert sorted(sum(batches, [])) == sorted(words) and [len(batch) for batch in batches] == [4, 4, 4]
    assert [[len(word) for word in batch] for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
