"""Path-star graphs: a start node with several arms, one of which ends in the goal (Bachmann & Nagarajan, 2024).

The question lists the start and all edges in random order. The end of each arm leads to a mark: ``G``, the goal, or
``X``. The answer is the nodes of the goal's arm. A wrong arm shows itself at its end alone. The goal is a mark and no
node, and arms differ in length, because otherwise a model copies the goal to the last place of the answer without
following an arm.
"""

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import NamedTuple

from sequencematch.data.arms import DEAD_END, GOAL
from sequencematch.data.splits import make_splits
from sequencematch.seeding import generator
from sequencematch.settings.data import LABELS, Graphs, Source

DRAWS = 4  # drawn questions per question wanted, after which the settings have too few graphs


class Question(NamedTuple):
    """One row of a split. The text of an example is prompt + completion."""

    prompt: str
    completion: str
    base: int  # 0: labels that are digits mean nothing
    graph: str  # the same for graphs with the same edges, whichever arm has the goal


def generate(data: Graphs) -> tuple[dict[str, dict[str, list]], dict]:
    """The splits (name -> column -> values), no graph in two, and facts. Raises UserError if there are too few."""
    source = Source(kind="generated", name="graphs")
    given = {"train": _questions(data, "graph", data.arm_lengths)}
    if data.test_arm_lengths[1]:
        given["test"] = _questions(data, "test graph", data.test_arm_lengths)
    rows, facts = make_splits(given, data, source, key=lambda row: row.graph)
    splits = {split: [row._asdict() for row in rows[split]] for split in rows}
    return {split: {name: [row[name] for row in splits[split]] for name in Question._fields} for split in splits}, facts


def _questions(data: Graphs, stream: str, arm_lengths: tuple[int, int]) -> Iterator[Question]:
    """Distinct questions; draw i has a random stream of its own."""
    seen = set()
    for i in range(DRAWS * (data.train + data.validation + data.test)):
        rng = generator(data.seed, stream, i)
        start, arms = _graph(data, arm_lengths, rng)
        marks = GOAL + DEAD_END * (data.arms - 1)
        paths = [start + arm + mark for arm, mark in zip(arms, marks, strict=True)]
        edges = [source + target for path in paths for source, target in pairwise(path)]
        order = rng.permutation(len(edges))
        prompt = f"{start}:{'|'.join(edges[k] for k in order)}="
        if prompt not in seen:
            seen.add(prompt)
            yield Question(prompt, arms[0], 0, " ".join([start, *sorted(arms)]))


def _graph(data: Graphs, arm_lengths: tuple[int, int], rng) -> tuple[str, list[str]]:
    """A start node and its arms, the goal's first. Nodes are characters, and an arm is a string of them."""
    nodes = iter(LABELS[k] for k in rng.permutation(data.labels))
    shortest, longest = arm_lengths
    start = next(nodes)
    arms = ["".join(islice(nodes, n)) for n in rng.integers(shortest, longest + 1, data.arms)]
    if data.lean and rng.random() < data.lean:
        arms.sort(key=lambda arm: LABELS.index(arm[0]))
    return start, arms
