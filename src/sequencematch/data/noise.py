"""Mistakes and their repair, inserted into clean completions: wrong tokens, then as many ``<bkspc>``.

A kind of noise is a distribution over tokens at each place of a completion, given as weights. Wrong tokens are drawn
from it without the true token. Special tokens have no weight, because a wrong ``<eos>`` could not be deleted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Literal, NamedTuple

import numpy as np

from sequencematch.data.arms import QUESTION, read_arms
from sequencematch.data.examples import Example
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.errors import UserError
from sequencematch.seeding import generator, stable_seed

BATCH = 256  # examples whose weights are worked out at a time


# Weights of wrong tokens, one array [completion length, vocabulary] for each example of a batch.
Weights = Callable[[Sequence[Example]], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Mistake:
    """Wrong tokens before a place of a completion; ``longest``: how many a model may make of them (None: no bound)."""

    position: int
    wrong: list[int]
    longest: int | None = 1


class Opening(NamedTuple):
    """A mistake that a model is to continue after the prompt and the true tokens before it, by a stream of its own."""

    example: Example
    mistake: Mistake
    stream: int


# The tokens that follow each mistake.
Continue = Callable[[Sequence[Opening]], Sequence[Sequence[int]]]


def draw_mistakes(
    completion: Sequence[int],
    eta: float,
    draw_wrong: Callable[[int, np.random.Generator], int | None],
    rng: np.random.Generator,
    run: float | Literal["all"] = 1.0,
    continued: bool = False,
) -> list[Mistake]:
    """The mistakes of one noising: one before each token with probability ``eta``.

    A mistake has a geometric number of wrong tokens with mean ``run`` (1: always one token; ``all``: no bound), at most
    as many as the rest of the completion, so that it fits where the completion fits. Token j of a mistake at a position
    is ``draw_wrong(position + j, rng)``; None ends the mistake. If it is ``continued`` by a model, only its first token
    is drawn here, and ``all`` is not bounded by the completion.
    """
    found = []
    for position, noisy in enumerate(rng.random(len(completion)) < eta):
        if noisy:
            rest = len(completion) - position
            length = rest if run == "all" else 1 if run == 1 else min(int(rng.geometric(1 / run)), rest)
            drawn = (draw_wrong(position + j, rng) for j in range(1 if continued else length))
            wrong = [token for token in takewhile(lambda token: token is not None, drawn) if token is not None]
            if wrong:
                found.append(Mistake(position, wrong, None if continued and run == "all" else length))
    return found


def with_mistakes(
    completion: Sequence[int], mistakes: Sequence[Mistake], bkspc: int, deletions: int = 1
) -> tuple[list[int], list[bool]]:
    """The actions that write and delete the mistakes, up to ``deletions`` at once; whether each is imitated."""
    actions: list[int] = []
    imitated: list[bool] = []
    wrong = {mistake.position: mistake.wrong for mistake in mistakes}
    for position, token in enumerate(completion):
        written = wrong.get(position, [])
        whole, rest = divmod(len(written), deletions)  # the fewest actions that delete them
        repair = [*[bkspc + deletions - 1] * whole, *[bkspc + rest - 1] * (rest > 0), token]
        actions += [*written, *repair]
        imitated += [False] * len(written) + [True] * len(repair)
    return actions, imitated


def inject(
    completion: Sequence[int],
    eta: float,
    draw_wrong: Callable[[int, np.random.Generator], int | None],
    bkspc: int,
    rng: np.random.Generator,
) -> tuple[list[int], list[bool]]:
    """Insert, with probability ``eta`` before each token, a wrong token and its ``<bkspc>``.

    The wrong token at a position is ``draw_wrong(position, rng)``; None inserts nothing. Returns the actions, and for
    each whether it is imitated (all but the wrong tokens are).
    """
    return with_mistakes(completion, draw_mistakes(completion, eta, draw_wrong, rng), bkspc)


def draw_wrong(completion: Sequence[int], weights: np.ndarray, position: int, rng: np.random.Generator) -> int | None:
    """A token drawn by ``weights[position]`` without the true token; None if no other token has weight."""
    candidates = weights[position].astype(np.float64)
    candidates[completion[position]] = 0
    total = candidates.sum()
    return int(rng.choice(len(candidates), p=candidates / total)) if total > 0 else None


def noise_split(
    examples: Sequence[Example],
    eta: float,
    draws: int,
    weights: Weights | None,
    bkspc: int,
    stream: Sequence[int | str],
    run: float | Literal["all"] = 1.0,
    continuations: Continue | None = None,
    deletions: int = 1,
) -> dict[str, list]:
    """``draws`` noisings of each example, as columns: all examples of draw 0, then of draw 1, ...

    ``weights`` may be None if ``eta`` is 0. With ``continuations``, a model continues the first wrong token of each
    mistake. One action deletes up to ``deletions`` tokens. Each noising has a random stream of its own, ``(*stream,
    draw, example)``, and each continuation ``(*stream, draw, example, position)``.
    """
    noisings: list[list[tuple[list[int], list[bool]]]] = [[] for _ in range(draws)]
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        drawn_by = weights(batch) if weights and eta else [np.zeros(0)] * len(batch)
        found: dict[tuple[int, int], list[Mistake]] = {}
        for item, (example, w) in enumerate(zip(batch, drawn_by, strict=True), start):
            wrong = partial(draw_wrong, example.completion, w)
            for draw in range(draws):
                rng = generator(*stream, draw, item)
                found[draw, item] = draw_mistakes(example.completion, eta, wrong, rng, run, continuations is not None)
        if continuations:
            found = _continued(found, examples, continuations, stream)
        for (draw, item), mistakes in found.items():
            noisings[draw].append(with_mistakes(examples[item].completion, mistakes, bkspc, deletions))
    return {
        "example": list(range(len(examples))) * draws,
        "draw": [draw for draw in range(draws) for _ in examples],
        "prompt": [example.prompt for example in examples] * draws,
        "actions": [actions for noising in noisings for actions, _ in noising],
        "imitated": [imitated for noising in noisings for _, imitated in noising],
    }


def _continued(
    found: dict[tuple[int, int], list[Mistake]],
    examples: Sequence[Example],
    continuations: Continue,
    stream: Sequence[int | str],
) -> dict[tuple[int, int], list[Mistake]]:
    """The mistakes by draw and example, with what the model adds to each: all of a batch together."""
    openings = [
        Opening(examples[item], mistake, stable_seed(*stream, draw, item, mistake.position))
        for (draw, item), mistakes in found.items()
        for mistake in mistakes
    ]
    added = iter(continuations(openings))
    return {
        key: [replace(mistake, wrong=[*mistake.wrong, *next(added)]) for mistake in mistakes]
        for key, mistakes in found.items()
    }


def task_noise(tokenizer: Tokenizer, train: Sequence[Example]) -> Weights:
    """Digits of the question's base (the paper's noise for arithmetic); in a graph, the nodes at the same place."""

    def weights(batch):
        for example in batch:
            places = np.zeros((len(example.completion), tokenizer.size))
            places[:, digit_ids(tokenizer, example.base)] = 1
            nodes = [] if example.base else nodes_by_place(tokenizer, example)
            for place, ids in zip(places, nodes, strict=False):  # arms may be longer or shorter than the answer
                place[ids] = 1
            yield places

    return weights


def nodes_by_place(tokenizer: Tokenizer, example: Example) -> list[list[int]]:
    """Token ids of the first nodes of a graph's arms, of their second nodes, and so on; none in other questions."""
    question = tokenizer.decode(example.prompt)
    if not QUESTION.fullmatch(question):
        return []
    tokens = {arm: tokenizer.encode(arm) for arm in read_arms(question)}
    return [[ids[i] for ids in tokens.values() if i < len(ids)] for i in range(max(map(len, tokens.values())))]


def digit_ids(tokenizer: Tokenizer, base: int) -> list[int]:
    """Token ids of the digits 0 .. base - 1. Raises UserError if a digit is not a token."""
    ids = [tokenizer.id(str(digit)) for digit in range(base)]
    found = [i for i in ids if i is not None]
    if len(found) < base:
        raise UserError(
            f"noise of kind 'task' needs a token for each digit, and the tokenizer has none for "
            f"{ids.index(None)}: choose another kind of noise, or another tokenizer"
        )
    return found


def random_noise(tokenizer: Tokenizer, train: Sequence[Example]) -> Weights:
    """All tokens of the vocabulary but special ones, equally likely."""
    return _same_everywhere(np.ones(tokenizer.size), tokenizer)


def unigram_noise(tokenizer: Tokenizer, train: Sequence[Example]) -> Weights:
    """Tokens as often as they occur in the completions of the training split."""
    tokens = np.concatenate([example.completion for example in train])
    return _same_everywhere(np.bincount(tokens, minlength=tokenizer.size), tokenizer)


# By name, from the tokenizer and the clean training split; ``model.likely_noise`` has one more.
KINDS = {"task": task_noise, "random": random_noise, "unigram": unigram_noise}


def _same_everywhere(row: np.ndarray, tokenizer: Tokenizer) -> Weights:
    row[never_written(tokenizer)] = 0
    return lambda batch: (np.broadcast_to(row, (len(example.completion), len(row))) for example in batch)


def never_written(tokenizer: Tokenizer) -> list[int]:
    """Ids that noise never writes: special tokens, and ids that no token has."""
    return sorted(set(range(tokenizer.size)) - set(tokenizer.ordinary_ids))
