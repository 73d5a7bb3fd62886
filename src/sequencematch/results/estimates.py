"""The one kind of number that tables, pages, figures and the README show, and the CSV files that keep them.

Three files hold estimates, one line each: a table of scores (``scores_csv``), a table of costs (``costs_csv``) and the
map (``map_csv``). What is shown is made from them, never from a page that we wrote. An empty field means that there is
no such number: ``sd`` with one seed, an interval where a quantity has one number per seed.

In a table of scores the quantity of a difference names what it is to: ``accuracy_minus_mle`` is a paired difference to
MLE at the same eta (MLE and ULS have none) in the same decoding, ``mauve_minus_mle[top_p=0.95]`` one to another
decoding.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sequencematch.errors import UserError
from sequencematch.results.paper import Reported
from sequencematch.results.variants import Variant
from sequencematch.settings.families import FAMILIES
from sequencematch.store.files import read_csv

# Real text, which has its measures in a table like a method.
REFERENCE = Variant("reference", 0.0)
# The score that a table is about; one without any of these is about text.
METRICS = tuple(dict.fromkeys(family.score for family in FAMILIES.values() if family.score))
STATISTICS = ("mean", "sd", "low", "high")
P_VALUES = {"p": "p", "p_corrected": "p_adjusted"}  # columns, and the fields that they hold
MINUS = "_minus_"
LEVEL = 0.05  # of significance, after the correction
# What each side's answers cost on the map, and how many were cut off: means over seeds.
COSTS = ("pushes_per_sequence", "pops_per_sequence", "cut_off_share")


@dataclass(frozen=True)
class Place:
    """What a number is of. In a table of costs ``task`` is the size, such as '256 + 768 tokens'."""

    task: str = ""
    method: str = ""
    eta: float = 0.0
    decoding: str = ""

    @property
    def variant(self) -> Variant:
        """The method at its noise level."""
        return Variant(self.method, self.eta)


NOWHERE = Place()


@dataclass(frozen=True)
class Estimate:
    """A number and what is known of its uncertainty; with ``against``, a paired difference to that place.

    mean: of a cost, the median over repeats. low, high: the 95% interval, unadjusted; of a cost, the quartiles.
    error: the standard error, of seeds and questions together. p, p_adjusted: of a difference, before and after the
    page's correction (``intervals.adjusted``). n: questions behind it. ratio: of a cost, the median ratio to the
    compared row of the same repeat.
    """

    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    where: Place = NOWHERE
    quantity: str = ""
    against: Place | None = None
    error: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    n: int = 0
    ratio: float | None = None
    paper: Reported | None = None

    @property
    def variant(self) -> Variant:
        """The method at its noise level."""
        return self.where.variant

    @property
    def decoding(self) -> str:
        """Empty for quantities that need none."""
        return self.where.decoding

    @property
    def significant(self) -> bool:
        """Whether a difference is below 5% after the page's correction.

        Files of before 2026-12 hold no p-values: there, whether the interval excludes 0.
        """
        if self.against is None:
            return False
        if self.p_adjusted is not None:
            return self.p_adjusted < LEVEL
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def with_itself(self) -> bool:
        """Whether a difference compares a method with itself: with a rule and without, or under other conditions."""
        return self.against is not None and self.against.method == self.where.method

    @property
    def in_points(self) -> "Estimate":
        """A score in points: accuracy in per cent, BLEU as it is. The paper's number too."""
        factor = 100 if self.quantity == "accuracy" else 1

        def scaled(found: Any, names: Sequence[str]) -> dict[str, Any]:
            numbers = {name: getattr(found, name) for name in names}
            return {name: None if value is None else factor * value for name, value in numbers.items()}

        paper = self.paper and replace(self.paper, **scaled(self.paper, ("value", "spread")))
        return replace(self, quantity="points", paper=paper, **scaled(self, (*STATISTICS, "error")))

    @property
    def name(self) -> str:
        """The quantity as a CSV names it."""
        if self.against is None:
            return self.quantity
        other = f"[{self.against.decoding}]" if self.against.decoding != self.where.decoding else ""
        return f"{self.quantity}{MINUS}{self.against.method}{other}"


@dataclass(frozen=True)
class Table:
    """All numbers of a table of scores, and how many seeds and questions are behind them."""

    name: str
    scale: str
    task: str
    seeds: int
    questions: int
    cells: Sequence[Estimate]

    @cached_property
    def variants(self) -> list[Variant]:
        """The methods at their noise levels, in the order of the table, without the real text."""
        return [variant for variant in dict.fromkeys(cell.variant for cell in self.cells) if variant != REFERENCE]

    @cached_property
    def metric(self) -> str:
        """The score that the table is about: accuracy, bleu, or '' for text."""
        return next((name for name in METRICS if any(cell.quantity == name for cell in self.cells)), "")

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


@dataclass(frozen=True)
class Effect:
    """An estimate on the map: a role's score (``quantity``: the role), or a difference (``sm_minus_mle``), in points.

    axis, at, reading: its cell and decoding. column: of the map's table. costs: means of ``COSTS``, or differences.
    """

    axis: str
    at: str
    reading: str
    column: str
    quantity: str
    found: Estimate
    costs: Mapping[str, float]


# ---- tables of scores -------------------------------------------------------------------------------


def scores_csv(table: Table) -> str:
    """The tidy CSV of a table."""
    return csv_text(
        {
            "table": table.name,
            "scale": table.scale,
            "task": table.task,
            "method": cell.where.method,
            "eta": cell.where.eta,
            "decoding": cell.decoding,
            "quantity": cell.name,
            **{
                column: _to_text(getattr(cell, name), lambda value: round(value, 6))
                for column, name in ({name: name for name in (*STATISTICS, "error")} | P_VALUES).items()
            },
            "seeds": table.seeds,
            "questions": table.questions,
            **{f"paper_{name}": getattr(cell.paper, name, "") for name in ("value", "spread", "source", "note")},
        }
        for cell in table.cells
    )


def read_table(path: Path) -> Table:
    """The table of a CSV that ``scores_csv`` wrote. Raises UserError where the file is missing or no such table."""

    def table(rows: list[dict[str, str]]) -> Table:
        first = rows[0]
        known = {(row["method"], float(row["eta"])) for row in rows}
        cells = [_cell(row, known) for row in rows]
        seeds, questions = int(first["seeds"]), int(first["questions"])
        return Table(first["table"], first["scale"], first["task"], seeds, questions, cells)

    return _read(path, table, "make_table")


def _cell(row: Mapping[str, str], known: set[tuple[str, float]]) -> Estimate:
    where = Place(row["task"], row["method"], float(row["eta"]), row["decoding"])
    quantity, minus, other = row["quantity"].partition(MINUS)
    method, _, decoding = other.rstrip("]").partition("[")
    eta = where.eta if (method, where.eta) in known else 0.0
    against = Place(where.task, method, eta, decoding or where.decoding) if minus else None
    paper = None
    if row["paper_value"]:
        value, spread = float(row["paper_value"]), _number(row["paper_spread"])
        paper = Reported(
            row["paper_source"], where.task, where.method, where.eta, quantity, value, spread, row["paper_note"]
        )
    return Estimate(
        **_numbers(row), where=where, quantity=quantity, against=against, n=int(row["questions"]), paper=paper
    )


# ---- tables of costs --------------------------------------------------------------------------------


def costs_csv(costs: Sequence[Estimate], table: str) -> str:
    """Median and quartiles (empty for what was counted once), ratio and the paper's number; ``table`` is its name."""
    return csv_text(
        {
            "table": table,
            "case": cost.where.task,
            "row": cost.where.method,
            "quantity": cost.quantity,
            "median": _to_text(cost.mean, _six),
            **{name: _to_text(getattr(cost, name), _six) for name in ("low", "high", "ratio")},
            "paper_value": _to_text(cost.paper.value if cost.paper else None, _six),
        }
        for cost in costs
    )


def read_costs(path: Path) -> list[Estimate]:
    """The costs of a CSV that ``costs_csv`` wrote. Raises UserError where the file is missing or no such table."""

    def costs(rows: list[dict[str, str]]) -> list[Estimate]:
        return [
            Estimate(
                float(row["median"]),
                low=_number(row["low"]),
                high=_number(row["high"]),
                where=Place(row["case"], row["row"]),
                quantity=row["quantity"],
                ratio=_number(row.get("ratio", "")),  # no column in files of before 2026-11
                paper=_of_paper(row.get("paper_value", "")),
            )
            for row in rows
        ]

    return _read(path, costs, "make_overhead_table")


def _of_paper(value: str) -> Reported | None:
    return Reported("", "", "", None, "", float(value), None, "") if value else None


# ---- the map ----------------------------------------------------------------------------------------


def map_csv(effects: Sequence[Effect], seeds: int) -> str:
    """A line per effect: where, what (a side, or two), mean, spread and interval in points, p-values, costs."""

    def line(effect: Effect) -> dict:
        found = effect.found
        sides = [side for side in (found.where, found.against) if side]
        numbers = {name: getattr(found, name) for name in STATISTICS}
        numbers |= {column: getattr(found, name) for column, name in P_VALUES.items()}
        numbers |= effect.costs
        return {
            **{name: getattr(effect, name) for name in ("axis", "at", "reading", "column", "quantity")},
            **{name: " | ".join(getattr(side, name) for side in sides) for name in ("task", "method")},
            "eta": " | ".join(f"{side.eta:g}" for side in sides),
            "decoding": " | ".join(side.decoding for side in sides),
            **{name: _to_text(value, lambda value: float(_six(value))) for name, value in numbers.items()},
            "seeds": seeds,
            "questions": found.n,
        }

    return csv_text(map(line, effects))


def read_map(path: Path) -> list[Effect]:
    """The effects of a CSV that ``map_csv`` wrote. Raises UserError where the file is missing or no map."""

    def effect(row: dict[str, str]) -> Effect:
        sides = zip(*(row[name].split(" | ") for name in ("task", "method", "eta", "decoding")), strict=True)
        where, *others = [Place(task, method, float(eta), decoding) for task, method, eta, decoding in sides]
        found = Estimate(
            **_numbers(row),
            where=where,
            quantity="points",
            against=others[0] if others else None,
            n=int(row["questions"]),
        )
        costs = {name: float(row[name]) for name in COSTS}
        return Effect(row["axis"], row["at"], row["reading"], row["column"], row["quantity"], found, costs)

    return _read(path, lambda rows: [effect(row) for row in rows], "make_map")


# ---- files ------------------------------------------------------------------------------------------


def _read(path: Path, parse: Callable[[list[dict[str, str]]], Any], script: str) -> Any:
    rows = read_csv(path, "make the table again")
    try:
        return parse(rows)
    except (IndexError, KeyError, ValueError) as error:
        raise UserError(f"'{path}' is no table of this project: name a CSV that {script} wrote") from error


def csv_text(rows: Iterable[Mapping]) -> str:
    """Rows with the same keys as CSV, the keys as its header."""
    rows, text = list(rows), io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _numbers(row: Mapping[str, str]) -> dict[str, Any]:
    """Files of before 2026-12 have no column ``error``, and those of tables no p-values."""
    optional = {"error": "error"} | P_VALUES
    return {name: _number(row[name]) for name in STATISTICS} | {
        name: _number(row.get(column, "")) for column, name in optional.items()
    }


def _number(text: str) -> float | None:
    return float(text) if text else None


def _to_text(value: float | None, write: Callable[[float], Any]) -> Any:
    return "" if value is None else write(value)


def _six(value: float) -> str:
    return f"{value:.6g}"
