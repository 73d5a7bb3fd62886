"""Arithmetic questions of the mathematics dataset (Saxton et al., 2019), split by what they ask.

The generator draws from global random state; here every draw is reseeded by its index, so the questions
depend on the seed and not on how many processes drew them.
"""

import importlib
import random
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import count
from typing import NamedTuple

import numpy as np

from sequencematch.errors import UserError
from sequencematch.seeding import stable_seed
from sequencematch.settings.data import Arithmetic

EXHAUSTED = 0.05  # share of new questions in a batch of draws below which a range has no more to give


# What a question asks, independent of its wording: canonical operands, and the base of its digits.
Asked = tuple[str, int]


def read_mul(question: str) -> Asked:
    """Two decimals, in either order."""
    p, q = sorted(re.findall(r"-?\d+(?:\.\d+)?", question), key=lambda number: (float(number), number))
    return f"{p} * {q}", 10


def read_add_or_sub_in_base(question: str) -> Asked | None:
    """Two integers in a base, in either order; p - q is p + (-q). Bases above 10 are left out (appendix E)."""
    written = re.fullmatch(r"In base (\d+), what is (-?\w+) ([+-]) (-?\w+)\?", question)
    assert written, f"the generator asks in another wording: {question}"
    base = int(written[1])
    if base > 10:
        return None
    p, q = sorted([int(written[2], base), int(written[4], base) * (1 if written[3] == "+" else -1)])
    return f"{p} + {q} in base {base}", base


def read_list_prime_factors(question: str) -> Asked:
    """One integer."""
    number = re.search(r"\d+", question)
    assert number, f"the generator asks in another wording: {question}"
    return number[0], 10


# By name: the module of the generator (``topic__name``), and what says what one of its questions asks; None leaves the
# question out.
TASKS: dict[str, tuple[str, Callable[[str], Asked | None]]] = {
    "add_or_sub_in_base": ("arithmetic__add_or_sub_in_base", read_add_or_sub_in_base),
    "mul": ("arithmetic__mul", read_mul),
    "list_prime_factors": ("numbers__list_prime_factors", read_list_prime_factors),
}


class Question(NamedTuple):
    """One row of a split. The text of an example is prompt + completion (appendix E)."""

    question: str
    solution: str
    prompt: str
    completion: str
    base: int
    operands: str


def generate(data: Arithmetic, workers: int = 1) -> dict[str, dict[str, list]]:
    """The splits train, validation and test (name -> column -> values), with no operands in common.

    A pool of distinct questions is drawn. A random part of its distinct operands is held out. ``test`` and
    ``validation`` have one question for each of theirs; ``train`` has all wordings of the rest, up to its size. Holding
    out does not depend on how often operands are drawn, so easy ones occur on both sides.

    Raises UserError if the entropy range has too few questions.
    """
    pool: dict[str, Question] = {}  # by question, in the order of first appearance
    drawn = 0
    for batch in _batches_of_draws(data, workers):
        before = len(pool)
        for example in batch:
            pool.setdefault(example.question, example)
        drawn += len(batch)
        splits = _split(pool.values(), data)
        if all(len(splits[name]) == getattr(data, name) for name in splits):
            return {
                name: {field: [getattr(example, field) for example in examples] for field in Question._fields}
                for name, examples in splits.items()
            }
        if len(pool) - before < EXHAUSTED * len(batch):
            break
    operands = len({example.operands for example in pool.values()})
    low, high = data.entropy
    raise UserError(
        f"{data.generator} at entropy ({low:g}, {high:g}) yields about {len(pool)} distinct questions over {operands} "
        f"distinct operands ({drawn} draws), and {data.train} + {data.validation} + {data.test} are asked for: widen "
        "the range or lower these sizes"
    )


def _split(pool, data: Arithmetic) -> dict[str, list[Question]]:
    """The pool's examples by split, as far as they go; which operands are held out is drawn by hash."""
    by_operands: dict[str, list[Question]] = {}
    for example in pool:
        by_operands.setdefault(example.operands, []).append(example)
    shuffled = sorted(by_operands, key=lambda operands: stable_seed(data.seed, "split", operands))
    held_out = data.validation + data.test
    rest = set(shuffled[held_out:])
    return {
        "train": [example for example in pool if example.operands in rest][: data.train],
        "validation": [by_operands[operands][0] for operands in shuffled[: data.validation]],
        "test": [by_operands[operands][0] for operands in shuffled[data.validation : held_out]],
    }


def _batches_of_draws(data: Arithmetic, workers: int) -> Iterator[list[Question]]:
    """Endless batches of consecutive draws. Their size depends on the sizes asked for, not on the workers."""
    size = max(1024, (data.train + data.validation + data.test) // 4)
    draw = partial(_draw, data.generator, data.entropy, data.seed)
    with ProcessPoolExecutor(workers) as executor:
        for start in count(step=size):
            found = executor.map(draw, range(start, start + size), chunksize=128)
            yield [question for question in found if question is not None]


def _draw(generator: str, entropy: tuple[float, float], seed: int, index: int) -> Question | None:
    """Draw ``index`` of the stream, one call of the seeded generator; None where the task leaves the question out."""
    stream = stable_seed(seed, "question", generator, index)
    random.seed(stream)
    np.random.seed(stream % 2**32)
    problem = _module(generator, entropy)()
    question, solution = str(problem.question), str(problem.answer)
    asked = TASKS[generator][1](question)
    if asked is None:
        return None
    operands, base = asked
    return Question(question, solution, f"{question} Solution: ", solution, base, operands)


@cache
def _module(generator: str, entropy: tuple[float, float]) -> Callable:
    """The generator's own module at an entropy range; each call of it is one problem."""
    # The generator imports a name from where sympy kept it in 2019, so it is put back there first.
    moved = importlib.import_module("sympy.solvers.diophantine.diophantine")
    vars(importlib.import_module("sympy.solvers.diophantine"))["base_solution_linear"] = moved.base_solution_linear
    modules = importlib.import_module("mathematics_dataset.modules.modules")
    topic, name = TASKS[generator][0].split("__")
    return modules.train(lambda _: entropy)[topic][name]
