"""The map: a default cell, and axes on which one thing at a time differs from it.

A cell compares a few roles (by convention mle, bc and sm), each a method on a task, in several readings (ways of
decoding). Besides its place, a cell names what differs there, for all roles or for some. This module does not import
torch.
"""

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from pydantic import Field, field_validator, model_validator

from sequencematch.settings.decoding_names import combined, decoding_options, without_backspace
from sequencematch.settings.section import Eta, Name, Section, Title, distinct, setting

# Names of differences: sm_minus_mle; sm_minus_default is one to the default cell.
MINUS, DEFAULT = "_minus_", "default"
# The columns of the map's pictures, by what a decoding does.
SAMPLED, GREEDY, PERTURBED = COLUMNS = ("sampled", "greedy", "perturbed")


class Cell(Section):
    """A place on an axis. A text applies to all roles, a mapping to the roles that it names."""

    at: str = Field(description="what the place is called", min_length=1)
    task: str | dict[Name, str] = setting({}, "task, instead of the map's")
    method: str | dict[Name, str] = setting({}, "method, instead of the map's for that role")
    eta: Eta | None = setting(None, "noise level, instead of the map's")
    decoding: str | dict[Name, str] = setting({}, "decoding, together with each reading's")


class Axis(Section):
    """One axis of the map: what varies, and its cells."""

    title: Title = Field(description="what varies")
    readings: tuple[str, ...] | None = setting(None, "decodings in which it is read (default: the map's)")
    cells: tuple[Cell, ...] = Field(min_length=1, description="places, in order; the default cell is one of them")

    @field_validator("cells")
    @classmethod
    def _distinct(cls, cells):
        distinct(tuple(cell.at for cell in cells))
        return cells


class Map(Section):
    """The map: its default cell, and the axes along which one thing at a time differs from it."""

    title: Title = Field(description="heading of the map")
    task: str = Field(description="task of the default cell")
    eta: Eta = Field(description="noise level of the default cell")
    methods: dict[Name, str] = Field(min_length=2, description="roles that are compared, and the method of each")
    readings: tuple[str, ...] = setting(("sampled", "greedy"), "decodings in which a cell is read", min_length=1)
    axes: dict[Name, Axis] = Field(min_length=1, description="what varies around the default cell")
    summary: dict[str, str] = setting({}, "rows of the summary's figure: label, and its place, written axis/cell")

    @model_validator(mode="after")
    def _summary_is_on_the_map(self):
        places = {f"{name}/{cell.at}" for name, axis in self.axes.items() for cell in axis.cells}
        for place in self.summary.values():
            if place not in places:
                raise ValueError(f"summary: '{place}' is no place of the map: write an axis and one of its cells")
        return self


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the runs of a method, in one decoding."""

    task: str
    method: str
    eta: float
    decoding: str

    @property
    def run(self) -> str:
        """The folder of its runs, one per seed in it, below that of the scale."""
        return f"{self.task}/{self.method}/eta={self.eta:g}"


@dataclass(frozen=True)
class Reading:
    """A cell in one decoding: the side of each role, and its side in the default cell in the same decoding."""

    axis: str
    at: str
    name: str
    sides: dict[str, Side]
    default: dict[str, Side]

    @property
    def column(self) -> str:
        """The column of the reading in the map's table."""
        return column_of(next(iter(self.sides.values())).decoding)

    @cached_property
    def comparisons(self) -> dict[str, tuple[Side, Side]]:
        """The pairs of sides that are compared, by name.

        Every role is compared with those before it (``sm_minus_mle``). It is also compared with itself in the default
        cell, if the cell gives it another method, noise level or decoding (``sm_minus_default``).
        """
        pairs = {f"{b}{MINUS}{a}": (self.sides[b], self.sides[a]) for a, b in itertools.combinations(self.sides, 2)}
        for role, side in self.sides.items():
            default = self.default[role]
            alike = side.task == default.task and column_of(side.decoding) == column_of(default.decoding)
            if alike and side != default:
                pairs[f"{role}{MINUS}{DEFAULT}"] = (side, default)
        return pairs


def column_of(decoding: str) -> str:
    options = decoding_options(decoding)
    if any(key.startswith("perturbed") for key in options):
        return PERTURBED
    return GREEDY if options.get("temperature") == 0 else SAMPLED


def readings_of(described: Map, noiseless: Collection[str]) -> list[Reading]:
    """Every cell in every reading, axis by axis. ``noiseless``: methods whose runs are at eta 0, without ``<bkspc>``.

    Raises ValueError if a cell's decoding and a reading cannot be combined.
    """
    found = []
    for name, axis in described.axes.items():
        for cell in axis.cells:
            for reading in axis.readings or described.readings:
                sides, default = (
                    {role: _side(described, c, role, reading, noiseless) for role in described.methods}
                    for c in (cell, Cell(at=cell.at))
                )
                found.append(Reading(name, cell.at, reading, sides, default))
    return found


def _side(described: Map, cell: Cell, role: str, reading: str, noiseless: Collection[str]) -> Side:
    method = _for(cell.method, role) or described.methods[role]
    decoding = combined(reading, _for(cell.decoding, role) or "sampled")
    if method in noiseless:
        return Side(_for(cell.task, role) or described.task, method, 0, without_backspace(decoding))
    return Side(_for(cell.task, role) or described.task, method, cell.eta or described.eta, decoding)


def _for(value: str | dict[str, str], role: str) -> str | None:
    return value.get(role) if isinstance(value, dict) else value
