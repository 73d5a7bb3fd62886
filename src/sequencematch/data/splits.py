"""From the rows of a corpus to splits of the sizes asked for, with no test row in training."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from sequencematch.errors import UserError
from sequencematch.seeding import stable_seed
from sequencematch.settings.data import Dataset, Source

Row = TypeVar("Row")
ORDER = ("test", "validation", "train")  # a row belongs to the first of these that has it


def make_splits(
    given: Mapping[str, Iterable[Row]], sizes: Dataset, source: Source, key: Callable[[Row], str]
) -> tuple[dict[str, list[Row]], dict]:
    """The splits train, validation and test in the sizes asked for, and facts for their provenance.

    given: the rows of train, and of the other splits if the source has them. Rows with the same ``key`` ask the same
    question. A split that is not given is held out of train: a random part of its keys, one row for each. A row of a
    given split is left out if its key occurs in a given split before it (in the order test, validation, train). Where
    there are more rows than needed, ``sizes.seed`` decides which are taken. Lists are read whole, iterators only as far
    as needed.

    Facts: ``left_out`` (rows, by split) and ``source_digest`` (of all rows read). Raises UserError if there are too few
    rows, or if ``source.digest`` is that of other rows.
    """
    pools, left_out, digest = _read_pools(given, sizes, key)
    chosen = _choose(pools, sizes, key)
    short = {name: rows for name, rows in chosen.items() if len(rows) < getattr(sizes, name)}
    if short:
        asked = ", ".join(f"{getattr(sizes, name)} for {name}" for name in reversed(ORDER))
        found = ", ".join(f"{len(rows)} for {name}" for name, rows in short.items())
        raise UserError(f"the source has too few rows for the sizes asked for ({asked}): {found}; lower them")
    if source.digest not in ("", digest):
        raise UserError(
            f"the rows of the source have the digest {digest}, and its settings say {source.digest}: get what it was, "
            "or set the new digest"
        )
    return {name: chosen[name] for name in reversed(ORDER)}, {"left_out": left_out, "source_digest": digest}


def _read_pools(
    given: Mapping[str, Iterable[Row]], sizes: Dataset, key: Callable[[Row], str]
) -> tuple[dict[str, dict[str, list[Row]]], dict[str, int], str]:
    """The rows of each given split by their key, the number of rows left out of it, and the digest of all rows read."""
    held_out = [name for name in ORDER if name not in given]
    digest, left_out = hashlib.sha256(), {}
    before: set[str] = set()
    pools: dict[str, dict[str, list[Row]]] = {}
    for name in filter(given.__contains__, ORDER):
        enough = sum(getattr(sizes, split) for split in ([*held_out, name] if name == "train" else [name]))
        pool = pools[name] = {}
        left_out[name] = 0
        for row in given[name]:
            digest.update(json.dumps([name, row], ensure_ascii=False).encode())
            if key(row) in before:
                left_out[name] += 1
            else:
                pool.setdefault(key(row), []).append(row)
            if isinstance(given[name], Iterator) and len(pool) >= enough:  # it may be endless
                break
        before |= pool.keys()
    return pools, left_out, digest.hexdigest()


def _choose(pools: dict[str, dict[str, list[Row]]], sizes: Dataset, key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """The rows of every split; those of a split without a pool are taken out of the pool of train."""
    chosen = {}
    for name in ORDER:
        pool = pools[name if name in pools else "train"]
        keys = sorted(pool, key=lambda k: stable_seed(sizes.seed, "split", k))
        rows = [row for k in keys for row in (pool[k] if name in pools else pool[k][:1])]
        chosen[name] = rows[: getattr(sizes, name)]
        for row in chosen[name] if name not in pools else ():
            del pool[key(row)]
    return chosen
