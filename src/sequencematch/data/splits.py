"""From the rows of a corpus to splits of the sizes asked for, with no test row in training."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from typing import TypeVar

from sequencematch.errors import UserError
from sequencematch.seeding import stable_seed
from sequencematch.settings.data import Dataset, Source

Row = TypeVar("Row")
ORDER = ("test", "validation", "train")  # a row belongs to the first of these that has it


def make_splits(
    given: Mapping[str, Iterable[Row]], sizes: Dataset, source: Source, key: Callable[[Row], str]
) -> tuple[dict[str, list[Row]], dict]:
    """Splits train, validation and test of the sizes asked for, and the facts that belong in their provenance.

    given: the rows of train, and of the other splits where the source has them. Rows with the same ``key`` ask the
    same. A split that is not given is held out of train: a random part of its keys, one row for each. Rows of a
    given split whose key stands in a given split before it (test, validation, train) are left out. Which of
    the rows are taken, where there are more, follows from ``sizes.seed``. Lists are read whole, iterators only as far
    as is needed.

    Facts: ``left_out`` (rows, by split) and ``source_digest`` (of all rows read). Raises UserError where there are too
    few rows, or others than ``source.digest`` says.
    """
    held_out = [name for name in ORDER if name not in given]
    digest, left_out, chosen = hashlib.sha256(), {}, {}
    before: set[str] = set()
    pools: dict[str, dict[str, list[Row]]] = {}
    for name in filter(given.__contains__, ORDER):
        enough = sum(getattr(sizes, split) for split in ([*held_out, name] if name == "train" else [name]))
        pool = pools[name] = {}
        left_out[name] = 0
        for row in _as_far_as_needed(given[name], partial(_has, pool, enough)):
            digest.update(json.dumps([name, row], ensure_ascii=False).encode())
            if key(row) in before:
                left_out[name] += 1
            else:
                pool.setdefault(key(row), []).append(row)
        before |= pool.keys()
    for name in ORDER:
        pool = pools[name if name in given else "train"]
        keys = sorted(pool, key=lambda k: stable_seed(sizes.seed, "split", k))
        rows = [row for k in keys for row in (pool[k] if name in given else pool[k][:1])]
        chosen[name] = rows[: getattr(sizes, name)]
        for row in chosen[name] if name not in given else ():
            del pool[key(row)]
    _check_sizes(chosen, sizes)
    facts = {"left_out": left_out, "source_digest": digest.hexdigest()}
    if source.digest not in ("", facts["source_digest"]):
        raise UserError(
            f"the rows of the source have the digest {facts['source_digest']}, and its settings say {source.digest}: "
            "it has changed; get what it was, or set the new digest"
        )
    return {name: chosen[name] for name in reversed(ORDER)}, facts


def _has(pool: Sized, enough: int) -> bool:
    return len(pool) >= enough


def _as_far_as_needed(rows: Iterable[Row], enough: Callable[[], bool]) -> Iterator[Row]:
    """All of a list; of an iterator, which may be endless, rows until there are ``enough``."""
    for row in rows:
        yield row
        if isinstance(rows, Iterator) and enough():
            return


def _check_sizes(chosen: Mapping[str, list], sizes: Dataset) -> None:
    short = {name: rows for name, rows in chosen.items() if len(rows) < getattr(sizes, name)}
    if short:
        asked = ", ".join(f"{getattr(sizes, name)} for {name}" for name in reversed(ORDER))
        found = ", ".join(f"{len(rows)} for {name}" for name, rows in short.items())
        raise UserError(f"the source has too few rows for the sizes asked for ({asked}): {found}; lower them")
