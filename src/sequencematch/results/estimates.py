"""The one kind of number that tables, pages, figures and the README show, and the one form of the CSV files of them.

A line of a CSV is an estimate, whether of a table of scores, of the map or of costs: what it is of (``task``,
``method``, ``eta``, ``decoding``, ``quantity``; of a paired difference also what it is to, ``against_...``; on the map
the cell), the number, its uncertainty, and the paper's. What is shown is made from these files, never from a page that
we wrote. An empty field means that there is no such number: ``sd`` with one seed, an interval where a quantity has one
number per seed, ``ratio`` where nothing was timed.

The quantity of a difference names what it is to: ``accuracy_minus_mle`` is one to MLE at the same eta (MLE and ULS have
none) in the same decoding, ``mauve_minus_mle[top_p=0.95]`` one to another decoding.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from sequencematch.results.sound import sound
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.map import MINUS, Side
from sequencematch.store.files import read_csv

WRITTEN = {"dagger": "DAgger", "head": "Head", "keep": "Keep", "rewind": "Rewind"}  # the others: in capitals
METHOD_ORDER = tuple(LOSSES)  # a method without settings of its own has the name of its loss


@dataclass(frozen=True)
class Variant:
    """A row of a table: a named method at a noise level (0 for methods without noise)."""

    method: str
    eta: float

    @property
    def family(self) -> str:
        """The method a variant belongs to: sm for sm_js."""
        return self.method.split("_")[0]

    @property
    def label(self) -> str:
        """MLE, SM, SM (js), DAgger."""
        suffix = self.method.removeprefix(self.family).strip("_").replace("_", " ")
        return WRITTEN.get(self.family, self.family.upper()) + (f" ({suffix})" if suffix else "")

    @property
    def name(self) -> str:
        """The label with the noise level: MLE; SM (js), η = 0.2."""
        return f"{self.label}, η = {self.eta:g}" if self.eta else self.label

    @property
    def place(self) -> tuple:
        """Sorts rows as the paper does: MLE, ULS, BC, SM; variants after their method; eta ascending."""
        known = self.family in METHOD_ORDER
        return METHOD_ORDER.index(self.family) if known else len(METHOD_ORDER), self.method, self.eta


def variant_of(side: Side) -> Variant:
    """The method of a side at its noise level."""
    return Variant(side.method, side.eta)


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


@cache
def read_reported() -> list[Reported]:
    """All numbers of the paper that we compare with, in the order of ``paper_tables.csv``."""
    rows: list[dict[str, Any]] = [*read_csv(Path(__file__).with_name("paper_tables.csv"))]
    return [Reported(**row | {name: _number(row[name]) for name in ("eta", "value", "spread")}) for row in rows]


def find(task: str, method: str, eta: float, metric: str) -> Reported | None:
    """The paper's number, if there is one. It repeats that of a method without noise (eta = 0) under every eta."""
    wanted = (task, method, metric)
    return next((n for n in read_reported() if (n.task, n.method, n.metric) == wanted and eta in (0, n.eta)), None)


Item = TypeVar("Item")
Key = TypeVar("Key")


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by their key, both in the order of the items."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def bracketed(name: str) -> str:
    """The text in brackets: ``random`` of ``repair_rate[random]``; empty without."""
    return name.partition("[")[2].removesuffix("]")


# Real text, which has its measures in a table like a method.
REFERENCE = Variant("reference", 0.0)
# The score that a table is about (``points``: see ``Table.in_points``); one without any of these is about text.
METRICS = ("points", *dict.fromkeys(family.score for family in FAMILIES.values() if family.score))
# Columns of numbers, and the fields that they hold.
STATISTICS = {n: n for n in ("mean", "sd", "low", "high", "error", "p", "ratio")} | {"p_corrected": "p_adjusted"}
SIGNIFICANCE = 0.05  # after the correction
# What each side's answers cost on the map, and how many were cut off: means over seeds.
COSTS = ("pushes_per_sequence", "pops_per_sequence", "cut_off_share")


@dataclass(frozen=True)
class Cell:
    """Where on the map a number stands, and what the answers there cost.

    axis, at, reading: its cell and decoding. column: of the map's table. roles: whose score it is, or ``sm_minus_mle``.
    costs: means of ``COSTS``, or differences.
    """

    axis: str = ""
    at: str = ""
    reading: str = ""
    column: str = ""
    roles: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)


NOWHERE, NO_CELL = Side("", "", 0.0, ""), Cell()


@dataclass(frozen=True)
class Estimate:
    """A number and what is known of its uncertainty; with ``against``, a paired difference to that side.

    where: what it is of. In a table of costs its ``task`` is the size, such as '256 + 768 tokens'.

    mean: of a cost, the median over repeats. low, high: the 95% interval, unadjusted; of a cost, the quartiles.
    error: the standard error, of seeds and questions together. p, p_adjusted: of a difference, before and after the
    page's correction (``intervals.adjusted``). n: questions behind it. ratio: of a cost, the median ratio to the
    compared row of the same repeat.
    """

    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    where: Side = NOWHERE
    quantity: str = ""
    against: Side | None = None
    error: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    n: int = 0
    ratio: float | None = None
    paper: Reported | None = None
    cell: Cell = NO_CELL

    @property
    def variant(self) -> Variant:
        """The method at its noise level."""
        return variant_of(self.where)

    @property
    def decoding(self) -> str:
        """Empty for quantities that need none."""
        return self.where.decoding

    @property
    def significant(self) -> bool:
        """Whether a difference is below 5% after the page's correction; without a p-value, its interval excludes 0."""
        if self.against is None:
            return False
        return self.excludes_0 if self.p_adjusted is None else self.p_adjusted < SIGNIFICANCE

    @property
    def excludes_0(self) -> bool:
        """Whether the interval does, unadjusted."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def in_points(self) -> "Estimate":
        """A score in points: accuracy in per cent, BLEU as it is. Without the paper's number."""
        factor = 100 if self.quantity == "accuracy" else 1
        numbers = {name: getattr(self, name) for name in ("mean", "sd", "low", "high", "error")}
        scaled = {name: factor * value for name, value in numbers.items() if value is not None}
        return replace(self, quantity="points", paper=None, **scaled)

    @property
    def name(self) -> str:
        """The quantity as a CSV names it."""
        if self.against is None:
            return self.quantity
        other = f"[{self.against.decoding}]" if self.against.decoding != self.where.decoding else ""
        return f"{self.quantity}{MINUS}{self.against.method}{other}"


@dataclass(frozen=True)
class Table:
    """All estimates of a page; of scores also the scale, the task, and the seeds and questions behind them."""

    name: str
    cells: Sequence[Estimate]
    scale: str = ""
    task: str = ""
    seeds: int = 0
    questions: int = 0

    @cached_property
    def variants(self) -> list[Variant]:
        """The methods at their noise levels, in the order of the table, without the real text."""
        return [variant for variant in dict.fromkeys(cell.variant for cell in self.cells) if variant != REFERENCE]

    @cached_property
    def metric(self) -> str:
        """The score that the table is about: accuracy, bleu, or '' for text."""
        return next((name for name in METRICS if any(cell.quantity == name for cell in self.cells)), "")

    @property
    def in_points(self) -> "Table":
        """The table with its score in points, so that tables of several families stand side by side."""
        return replace(self, cells=[cell.in_points if cell.quantity == self.metric else cell for cell in self.cells])

    @cached_property
    def _by_place(self) -> dict[tuple[Variant, str, str], Estimate]:
        return {(cell.variant, cell.decoding, cell.name): cell for cell in reversed(self.cells)}

    def find(self, variant: Variant, decoding: str, name: str) -> Estimate | None:
        """The estimate of a quantity (see ``Estimate.name``), None where it was not measured."""
        return self._by_place.get((variant, decoding, name))

    def decodings_of(self, name: str) -> list[str]:
        """The decodings in which a quantity was measured, in the order of the table."""
        measured = {cell.decoding for cell in self.cells if cell.name == name}
        return [name for name in dict.fromkeys(cell.decoding for cell in self.cells) if name in measured]

    def differences(self, quantity: str = "") -> list[Estimate]:
        """The paired differences of a quantity, or of the table's own score."""
        return [cell for cell in self.cells if cell.against and cell.quantity == (quantity or self.metric)]


def medians(costs: Sequence[Estimate], case: str) -> dict[tuple[str, str], float]:
    """The medians of a case by row and quantity."""
    return {(cost.where.method, cost.quantity): cost.mean for cost in costs if cost.where.task == case}


CELL = ("axis", "at", "reading", "column", "roles")
PAPER = ("value", "spread", "source", "note")


def estimates_csv(table: Table) -> str:
    """The CSV of a table: a line per estimate, numbers with nine digits."""
    return csv_text(
        {
            "table": table.name,
            "scale": table.scale,
            **{name: getattr(cell.cell, name) for name in CELL},
            **_columns("", cell.where),
            "quantity": cell.name,
            **_columns("against_", cell.against),
            **{column: _text(getattr(cell, name)) for column, name in STATISTICS.items()},
            **{name: _text(cell.cell.costs.get(name)) for name in COSTS},
            "seeds": table.seeds,
            "questions": cell.n or table.questions,
            **{f"paper_{name}": _text(getattr(cell.paper, name, "")) for name in PAPER},
        }
        for cell in table.cells
    )


def _columns(of: str, place: Side | None) -> dict[str, Any]:
    fields = (place.task, place.method, float(place.eta), place.decoding) if place else ("",) * 4
    return dict(zip((f"{of}task", f"{of}method", f"{of}eta", f"{of}decoding"), fields, strict=True))


def read_table(path: Path) -> Table:
    """The table of a CSV that ``estimates_csv`` wrote. Raises UserError where the file is missing or no such table."""
    rows = read_csv(path, "make the table again")
    with sound(path, "table of this project", "make it again"):
        first, cells = rows[0], [_estimate(row) for row in rows]
        seeds, questions = int(first["seeds"]), int(first["questions"])
        return Table(first["table"], cells, first["scale"], first["task"], seeds, questions)


def _estimate(row: Mapping[str, str]) -> Estimate:
    def place(of: str) -> Side:
        return Side(row[f"{of}task"], row[f"{of}method"], float(row[f"{of}eta"]), row[f"{of}decoding"])

    where, against = place(""), place("against_") if row["against_method"] else None
    quantity, n = row["quantity"].partition(MINUS)[0], int(row["questions"])
    numbers: dict[str, Any] = {name: _number(row[column]) for column, name in STATISTICS.items()}
    numbers["mean"] = float(row["mean"])
    if value := row["paper_value"]:
        of = (row["paper_source"], where.task, where.method, where.eta, quantity)
        numbers["paper"] = Reported(*of, float(value), _number(row["paper_spread"]), row["paper_note"])
    if row["axis"]:
        costs = {name: float(row[name]) for name in COSTS if row[name]}
        numbers["cell"] = Cell(**{name: row[name] for name in CELL}, costs=costs)
    return Estimate(**numbers, where=where, quantity=quantity, against=against, n=n)


def csv_text(rows: Iterable[Mapping]) -> str:
    """Rows with the same keys as CSV, the keys as its header."""
    rows, text = list(rows), io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _number(text: str) -> float | None:
    return float(text) if text else None


def _text(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.9g}"
