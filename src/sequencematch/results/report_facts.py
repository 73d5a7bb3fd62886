"""What was run, where, and how long it took."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sequencematch.errors import UserError
from sequencematch.results.runs import BUDGET_NAMES, Run
from sequencematch.store.files import read_csv, reason
from sequencematch.store.provenance_schema import read_facts


@dataclass(frozen=True)
class Time:
    """The jobs of one rule: how many, and their seconds."""

    rule: str
    jobs: int
    total: float
    median: float
    longest: float


def times(benchmarks: Path) -> list[Time]:
    """Seconds per rule from Snakemake's benchmark files, the longest first. Raises UserError naming a damaged one."""
    seconds: dict[str, list[float]] = {}
    for file in sorted(benchmarks.rglob("*.tsv")):
        rule = "make_table" if file.parent.name == "tables" else file.stem
        rows = read_csv(file, "make the report again", delimiter="\t")
        try:
            found = [float(row["s"]) for row in rows]
        except (KeyError, ValueError) as error:
            raise UserError(
                f"'{file}' states no seconds ({reason(error)}): delete it, and make the report again"
            ) from error
        seconds.setdefault(rule, []).extend(found)
    times = [Time(rule, len(s), sum(s), median(s), max(s)) for rule, s in seconds.items() if s]
    return sorted(times, key=lambda time: -time.total)


def duration(seconds: float) -> str:
    """'0.8 s', '42 s', '3 min 5 s', '2 h 14 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def facts(runs: Sequence[Run]) -> dict[str, str]:
    """What all runs share, in words. Where they differ, all values are named."""
    provenance = [read_facts(run.model, "train it again", "packages", "machine", "python") for run in runs]
    commits = {run.metrics["commit"] for run in runs}
    packages = {f"{name} {version}" for p in provenance for name, version in p["packages"].items()}
    return {
        "scale": _list({run.metrics["scale"] for run in runs}),
        "tasks": _list(dict.fromkeys(run.task for run in runs)),
        "methods": _list(dict.fromkeys(run.variant.label for run in runs)),
        "noise levels": _list(f"{eta:g}" for eta in sorted({run.variant.eta for run in runs} - {0.0})),
        "seeds": _list(map(str, sorted({run.seed for run in runs}))),
        "trained models": str(len(runs)),
        "commit": _list(sorted(commits)),
        "machine": _list(sorted({p["machine"] for p in provenance})),
        "python": _list(sorted({p["python"] for p in provenance})),
        "packages": _list(sorted(packages)),
    }


def budgets(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Per task, the budget that all its methods share."""
    first: dict[str, dict] = {}
    for run in runs:
        first.setdefault(run.task, run.metrics["budget"])
    named = [
        {"task": task} | {BUDGET_NAMES.get(name, name): str(value)[:12] for name, value in budget.items()}
        for task, budget in first.items()
    ]
    columns = dict.fromkeys(name for row in named for name in row)
    return [{name: row.get(name, "-") for name in columns} for row in named]


def _list(values: Iterable[str]) -> str:
    return ", ".join(values)
