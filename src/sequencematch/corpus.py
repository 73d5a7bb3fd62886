"""Training examples in memory, and which of them each gradient step sees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sequencematch.core import Actions
from sequencematch.seeding import generator
from sequencematch.storage import load


@dataclass(frozen=True)
class Corpus:
    """Noised examples: ``draws[d][i]`` is noising d of example i; ``digest`` names the content."""

    draws: Sequence[Sequence[Actions]]
    digest: str

    def __len__(self) -> int:
        return len(self.draws[0])

    def example(self, item: int, epoch: int) -> Actions:
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
    examples = [Actions(p, a, [True] * len(a) if imitate_noise else i) for p, a, i in zip(*columns, strict=True)]
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


class Batches:
    """The effective batch of each gradient step, of sequences of like length, so that little of it is padding.

    ``WINDOW`` batches' worth of the shuffled stream are sorted by length, cut into batches, and these shuffled.
    """

    WINDOW = 8

    def __init__(self, corpus: Corpus, size: int, *stream: int | str):
        self.corpus, self.size, self.stream = corpus, size, stream
        self.order = Order(len(corpus), *stream)
        self._window = lru_cache(1)(self._make_window)

    def __getitem__(self, step: int) -> list[Actions]:
        window, place = divmod(step, self.WINDOW)
        return self._window(window)[place]

    def _make_window(self, window: int) -> list[list[Actions]]:
        count = self.WINDOW * self.size
        examples = [self.corpus.example(item, epoch) for item, epoch in self.order.slice(window * count, count)]
        examples.sort(key=lambda example: len(example.prompt) + len(example.actions))
        shuffled = generator(*self.stream, "window", window).permutation(self.WINDOW)
        return [examples[k * self.size : (k + 1) * self.size] for k in shuffled]
