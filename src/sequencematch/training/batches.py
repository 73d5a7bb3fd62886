"""Training examples in memory, and which of them each gradient step sees."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from sequencematch.core import Trajectory
from sequencematch.seeding import generator
from sequencematch.store.datasets import load

Item = TypeVar("Item")


@dataclass(frozen=True)
class Corpus:
    """Noised examples: ``draws[d][i]`` is noising d of example i; ``digest`` names the content."""

    draws: Sequence[Sequence[Trajectory]]
    digest: str

    def __len__(self) -> int:
        return len(self.draws[0])

    def example(self, item: int, epoch: int) -> Trajectory:
        """The noising of an example that an epoch uses: all are used in turn."""
        return self.draws[epoch % len(self.draws)][item]


def load_corpora(noised: Path, imitate_noise: bool = False) -> tuple[Corpus, Corpus]:
    """The training and validation corpora of a folder written by ``inject_noise``.

    With ``imitate_noise`` the injected wrong tokens count as the expert's own actions.
    """
    splits, provenance = load(noised)
    return tuple(_corpus(splits[name], provenance["digest"], imitate_noise) for name in ("train", "validation"))


def _corpus(split, digest: str, imitate_noise: bool) -> Corpus:
    table = split.data.table
    columns = (table.column(name).to_pylist() for name in ("prompt", "actions", "imitated"))
    examples = [Trajectory(p, a, [True] * len(a) if imitate_noise else i) for p, a, i in zip(*columns, strict=True)]
    count = int(table.column("draw").to_numpy().max()) + 1
    size = len(examples) // count
    return Corpus([examples[d * size : (d + 1) * size] for d in range(count)], digest)


class Order:
    """An endless stream of shuffled epochs over n items; any slice of it can be had without the rest."""

    def __init__(self, n: int, *stream: int | str):
        self.n = n
        self._permutation = lru_cache(4)(lambda epoch: generator(*stream, epoch).permutation(n))

    def slice(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """(item, epoch) at places start .. start + count - 1 of the stream."""
        for place in range(start, start + count):
            epoch, offset = divmod(place, self.n)
            yield int(self._permutation(epoch)[offset]), epoch


WINDOW = 8  # batches' worth of sequences that are sorted together


def nodes(trajectory: Trajectory, bkspc: int) -> int:
    """Tokens that a state tree of the trajectory encodes: its prompt, and all that was pushed."""
    return len(trajectory.prompt) + len(trajectory.actions) - list(trajectory.actions).count(bkspc)


def of_like_length(items: Sequence[Item], size: int, length: Callable[[Item], int]) -> list[list[Item]]:
    """All items, in batches of ``size`` with those of like length together, so that little is padding."""
    ordered = sorted(items, key=length)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


class Batches:
    """The effective batch of each gradient step, of sequences of like length.

    ``WINDOW`` batches' worth of the shuffled stream are sorted by length, cut into batches, and these shuffled.
    """

    def __init__(self, corpus: Corpus, size: int, bkspc: int, *stream: int | str):
        self.corpus, self.size, self.bkspc, self.stream = corpus, size, bkspc, stream
        self.order = Order(len(corpus), *stream)
        self._window = lru_cache(1)(self._make_window)

    def __getitem__(self, step: int) -> list[Trajectory]:
        window, place = divmod(step, WINDOW)
        return self._window(window)[place]

    def _make_window(self, window: int) -> list[list[Trajectory]]:
        count = WINDOW * self.size
        examples = [self.corpus.example(item, epoch) for item, epoch in self.order.slice(window * count, count)]
        batches = of_like_length(examples, self.size, lambda example: nodes(example, self.bkspc))
        shuffled = generator(*self.stream, "window", window).permutation(WINDOW)
        return [batches[k] for k in shuffled]
