"""Training examples in memory, and which of them each gradient step sees."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from sequencematch.core import Normaliser, Trajectory
from sequencematch.errors import UserError
from sequencematch.seeding import generator

SPLITS = ("train", "validation")
COLUMNS = ("prompt", "actions", "imitated", "draw")
Row = tuple[Trajectory, ...]  # what a gradient step trains on together: (data,) or (data, rollout)


@dataclass(frozen=True)
class Corpus:
    """Noised examples: ``draws[d][i]`` is noising d of example i; ``digest`` names the content."""

    draws: Sequence[Sequence[Trajectory]]
    digest: str

    def __len__(self) -> int:
        return len(self.draws[0])

    @cached_property
    def length(self) -> float:
        """Mean number of actions of a trajectory, over all noisings."""
        return self._mean(lambda trajectory: len(trajectory.actions))

    def cloned(self, imitate_prompt: bool) -> float:
        """Mean number of tokens and actions that BC imitates in a trajectory, over all noisings."""
        return self._mean(lambda t: sum(t.imitated) + (len(t.prompt) - 1 if imitate_prompt else 0))

    def _mean(self, number: Callable[[Trajectory], int]) -> float:
        return sum(number(t) for draw in self.draws for t in draw) / sum(map(len, self.draws))

    def example(self, item: int, epoch: int) -> Trajectory:
        """The noising of an example in an epoch. Successive epochs use all noisings in turn."""
        return self.draws[epoch % len(self.draws)][item]


def load_corpora(noised: Path, eos: int, imitate_noise: bool = False) -> tuple[Corpus, Corpus]:
    """The training and validation corpora of a folder written by ``inject_noise``.

    A trajectory whose last action is ``eos`` has ended; a passage of text is cut off. With ``imitate_noise`` the
    injected wrong tokens count as the expert's own actions. Raises UserError where the folder holds something else.
    """
    from sequencematch.store.datasets import load  # needs datasets, which the library does without

    splits, provenance = load(noised)
    for name in SPLITS:
        if name not in splits or not splits[name].num_rows or not set(COLUMNS) <= set(splits[name].column_names):
            raise UserError(f"'{noised}' holds no noised examples: give a folder that inject_noise wrote")
    train, validation = (_corpus(splits[name], provenance["digest"], eos, imitate_noise) for name in SPLITS)
    return train, validation


def _corpus(split, digest: str, eos: int, imitate_noise: bool) -> Corpus:
    table = split.data.table
    columns = (table.column(name).to_pylist() for name in COLUMNS[:3])
    examples = [
        Trajectory(prompt=p, actions=a, imitated=[True] * len(a) if imitate_noise else i, ended=a[-1:] == [eos])
        for p, a, i in zip(*columns, strict=True)
    ]
    count = int(table.column("draw").to_numpy().max()) + 1
    size = len(examples) // count
    return Corpus([examples[d * size : (d + 1) * size] for d in range(count)], digest)


class Order:
    """An endless stream of shuffled epochs over n items. Any slice of it can be computed alone."""

    def __init__(self, n: int, *stream: int | str):
        self.n = n
        self._permutation = lru_cache(4)(lambda epoch: generator(*stream, epoch).permutation(n))

    def slice(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """(item, epoch) at places start .. start + count - 1 of the stream."""
        for place in range(start, start + count):
            epoch, offset = divmod(place, self.n)
            yield int(self._permutation(epoch)[offset]), epoch


def nodes(trajectory: Trajectory, inputs: int) -> int:
    """Nodes of a state tree of the trajectory: its prompt, and the actions that are inputs (``Policy.inputs``)."""
    return len(trajectory.prompt) + sum(action < inputs for action in trajectory.actions)


class Batches:
    """The effective batch of each gradient step: the next examples of the shuffled stream, so a random sample."""

    def __init__(self, corpus: Corpus, size: int, *stream: int | str):
        self.corpus, self.size = corpus, size
        self.order = Order(len(corpus), *stream)

    def __getitem__(self, step: int) -> list[Trajectory]:
        return [self.corpus.example(item, epoch) for item, epoch in self.order.slice(step * self.size, self.size)]


def divisors(rows: Sequence[Row], length: float, cloned: float) -> Normaliser:
    """The divisors of the sums over an effective batch, from the means of its corpus."""
    transitions = sum(len(rollout.actions) for _, *rollouts in rows for rollout in rollouts)
    return Normaliser(trajectories=len(rows), length=length, cloned=cloned, model_transitions=transitions)


def by_length(rows: Sequence[Row], inputs: int, share_prompts: bool) -> list[Row]:
    """The rows of an effective batch, short ones first, so that its micro-batches hold little padding.

    A batch's gradient is a sum over its rows, so their order changes nothing else. With ``share_prompts`` off, data and
    rollouts are encoded separately and their pairing is arbitrary, so each column is sorted by itself.
    """

    def tokens(row: Row) -> int:
        return sum(nodes(trajectory, inputs) for trajectory in row)

    if share_prompts:
        return sorted(rows, key=tokens)
    columns = [sorted(column, key=lambda trajectory: nodes(trajectory, inputs)) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True))
