"""The paper's reported numbers, read from ``paper_tables.csv``, which names the table each comes from."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sequencematch.errors import UserError

FILE = Path(__file__).with_name("paper_tables.csv")


@dataclass(frozen=True)
class Reported:
    """A printed number: value +- spread (None where none is printed), in the table ``source``, as in 'table 6'."""

    source: str
    task: str
    method: str
    eta: float | None
    metric: str
    value: float
    spread: float | None
    note: str


def read_reported(path: Path = FILE) -> list[Reported]:
    """All numbers of the file, in its order. Raises UserError where it is not such a file."""
    try:
        return _parse(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is no table of reported numbers ({error}): see {FILE.name} for one") from error


def _parse(path: Path) -> list[Reported]:
    with path.open(newline="", encoding="utf-8") as lines:
        return [
            Reported(
                source=row["source"],
                task=row["task"],
                method=row["method"],
                eta=float(row["eta"]) if row["eta"] else None,
                metric=row["metric"],
                value=float(row["value"]),
                spread=float(row["spread"]) if row["spread"] else None,
                note=row["note"],
            )
            for row in csv.DictReader(lines)
        ]


def find(numbers: Sequence[Reported], task: str, method: str, eta: float, metric: str) -> Reported | None:
    """The paper's number for a method on a task at a noise level; None if there is none.

    eta = 0 means a method without noise. The paper repeats its number under every eta.
    """
    for number in numbers:
        if (number.task, number.method, number.metric) == (task, method, metric) and eta in (0, number.eta):
            return number
    return None
