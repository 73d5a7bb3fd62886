"""The file of a measurement: one number a line. Tables and figures are made from it.

CSV: ``case`` (the size, such as '256 + 768 tokens'), ``row`` (the method), ``quantity``, ``repeat`` (empty if counted
once) and ``value`` (times in seconds, memory in bytes). Repeat k of all rows of a case ran one after the other, so rows
are compared repeat by repeat.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from sequencematch.results.sound import sound
from sequencematch.store.files import atomic_folder, read_csv, read_json, write_json, write_text_atomically

VALUES, FACTS = "values.csv", "facts.json"


@dataclass(frozen=True)
class Value:
    """One measured or counted number; ``repeat`` is None where it was counted once."""

    case: str
    row: str
    quantity: str
    repeat: int | None
    value: float


@dataclass(frozen=True)
class Measured:
    """All numbers of a measurement, and facts about the machine, the network and the settings."""

    values: Sequence[Value]
    facts: dict

    @property
    def cases(self) -> list[str]:
        """The cases that were measured, in order."""
        return list(dict.fromkeys(value.case for value in self.values))

    def rows(self, case: str) -> list[str]:
        """The rows measured of a case, in order."""
        return list(dict.fromkeys(value.row for value in self.values if value.case == case))

    def series(self, case: str, row: str, quantity: str) -> np.ndarray:
        """The numbers of a quantity, float64 [repeats], in the order of the repeats; empty where there is none."""
        found = [v for v in self.values if (v.case, v.row, v.quantity) == (case, row, quantity)]
        return np.array([v.value for v in sorted(found, key=lambda v: v.repeat or 0)])


def write_measured(measured: Measured, folder: Path) -> None:
    """Write the folder atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Value)])
    writer.writerows(astuple(value) for value in measured.values)
    with atomic_folder(folder) as partial:
        write_text_atomically(partial / VALUES, text.getvalue())
        write_json(partial / FACTS, measured.facts)


def read_measured(folder: Path) -> Measured:
    """The measurement in a folder. Raises UserError if it is missing or damaged."""
    facts, rows = read_json(folder / FACTS, "measure again"), read_csv(folder / VALUES, "measure again")
    with sound(folder, "measurement", "measure again"):
        if not rows:
            raise ValueError("no numbers")
        found = [(row, int(row["repeat"]) if row["repeat"] else None) for row in rows]
        values = [Value(row["case"], row["row"], row["quantity"], k, float(row["value"])) for row, k in found]
    return Measured(values, facts)
