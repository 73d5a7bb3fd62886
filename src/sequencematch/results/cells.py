"""One table of measured quantities, and its tidy CSV, which is read back wherever a number is printed or drawn.

CSV: one line per (method, eta, decoding, quantity) with ``mean``, standard deviation between seeds (``sd``), 95%
interval (``low``, ``high``), and the paper's number where there is one. An empty field means that there is no such
number: ``sd`` with one seed, an interval where a quantity has one number per seed.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sequencematch.errors import UserError
from sequencematch.results.paper import Reported
from sequencematch.results.variants import Variant
from sequencematch.store.files import read_csv

# Real text, which has its measures in a table like a method.
REFERENCE = Variant("reference", 0.0)
# The score that a table is about; one without any of these is about text.
METRICS = ("accuracy", "bleu")
STATISTICS = ("mean", "sd", "low", "high")


@dataclass(frozen=True)
class Cell:
    """One quantity of one variant. ``decoding`` is empty for quantities that need none."""

    variant: Variant
    decoding: str
    quantity: str
    mean: float
    sd: float | None
    low: float | None = None
    high: float | None = None
    paper: Reported | None = None

    @property
    def significant(self) -> bool:
        """Whether the interval of a difference excludes 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Table:
    """All cells of a table, and how many seeds and questions are behind them."""

    name: str
    scale: str
    task: str
    seeds: int
    questions: int
    cells: Sequence[Cell]

    @cached_property
    def variants(self) -> list[Variant]:
        """The methods at their noise levels, in the order of the table, without the real text."""
        return [variant for variant in dict.fromkeys(cell.variant for cell in self.cells) if variant != REFERENCE]

    @cached_property
    def metric(self) -> str:
        """The score that the table is about: accuracy, bleu, or '' for text."""
        return next((name for name in METRICS if any(cell.quantity == name for cell in self.cells)), "")

    @cached_property
    def _by_place(self) -> dict[tuple[Variant, str, str], Cell]:
        return {(cell.variant, cell.decoding, cell.quantity): cell for cell in reversed(self.cells)}

    def find(self, variant: Variant, decoding: str, quantity: str) -> Cell | None:
        """The cell of a quantity, None where it was not measured."""
        return self._by_place.get((variant, decoding, quantity))

    def decodings_of(self, quantity: str) -> list[str]:
        """The decodings in which a quantity was measured, in the order of the table."""
        measured = {cell.decoding for cell in self.cells if cell.quantity == quantity}
        return [name for name in dict.fromkeys(cell.decoding for cell in self.cells) if name in measured]

    def differences(self, quantity: str = "") -> list[Cell]:
        """The paired differences of a quantity, or of the table's own score."""
        return [cell for cell in self.cells if cell.quantity.startswith(f"{quantity or self.metric}_minus_")]


def to_csv(table: Table) -> str:
    """The tidy CSV of a table (see the module's description)."""
    return csv_text(
        {
            "table": table.name,
            "scale": table.scale,
            "task": table.task,
            "method": cell.variant.method,
            "eta": cell.variant.eta,
            "decoding": cell.decoding,
            "quantity": cell.quantity,
            **{name: _rounded(getattr(cell, name)) for name in STATISTICS},
            "seeds": table.seeds,
            "questions": table.questions,
            **{f"paper_{name}": getattr(cell.paper, name, "") for name in ("value", "spread", "source", "note")},
        }
        for cell in table.cells
    )


def csv_text(rows: Iterable[Mapping]) -> str:
    """Rows with the same keys as CSV, the keys as its header."""
    rows, text = list(rows), io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_table(path: Path) -> Table:
    """The table of a CSV that ``to_csv`` wrote. Raises UserError where the file is missing or is no such table."""
    rows = read_csv(path, "make the table again")
    try:
        first = rows[0]
        names = {name: first[name] for name in ("table", "scale", "task")}
        seeds, questions = int(first["seeds"]), int(first["questions"])
        cells = [_cell(row) for row in rows]
    except (IndexError, KeyError, ValueError) as error:
        raise UserError(f"'{path}' is no table of this project: name a CSV that make_table wrote") from error
    return Table(names["table"], names["scale"], names["task"], seeds, questions, cells)


def _cell(row: Mapping[str, str]) -> Cell:
    numbers: dict[str, Any] = {name: float(row[name]) if row[name] else None for name in STATISTICS}
    place = (row["method"], float(row["eta"]), row["quantity"])
    paper = None
    if row["paper_value"]:
        spread = float(row["paper_spread"]) if row["paper_spread"] else None
        value = float(row["paper_value"])
        paper = Reported(row["paper_source"], row["task"], *place, value, spread, row["paper_note"])
    return Cell(Variant(*place[:2]), row["decoding"], place[2], **numbers, paper=paper)


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 6)
