"""The report: its parts are read from a scale's files, and one template combines them."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median

from markupsafe import Markup

from sequencematch.errors import UserError
from sequencematch.results.estimates import Table, read_table
from sequencematch.results.figures import (
    NOTE,
    TEXTS_NOTE,
    Panel,
    difference_panels,
    legend_of,
    older_error_panels,
    panel_svgs,
    score_panels,
    text_panels,
)
from sequencematch.results.forest import forest_note, forest_panels, over_tasks, results_of
from sequencematch.results.pages import HTML, TEMPLATES, render_file, scores_page, shown_of, texts_page
from sequencematch.results.questions import first_questions, typed_example
from sequencematch.results.readme import answers
from sequencematch.results.rule_graph import draw_rule_graph, read_rule_graph
from sequencematch.results.runs import BUDGET_NAMES, Run, evaluated_split, read_comparison, read_runs
from sequencematch.results.theme import VARIABLES
from sequencematch.results.words import SIGNIFICANT, sample_size
from sequencematch.store.files import read_csv, reason
from sequencematch.store.provenance_schema import read_facts


@dataclass(frozen=True)
class Sources:
    """The files behind a page.

    results: the scale's folder, which holds figures, examples and benchmarks. metrics: those of every run. tables: the
    CSV of each table and its title, in the order of the report. docs: by the name of their section.
    """

    results: Path
    metrics: Sequence[Path]
    tables: Mapping[Path, str]
    rule_graph: Path
    docs: dict[str, Path]


def render_page(sources: Sources) -> str:
    """The page as HTML, without references to anything outside it."""
    runs, figures = read_runs(sources.metrics), sources.results / "figures"
    by_task = {task: list(of_task) for task, of_task in groupby(runs, key=lambda run: run.task)}
    tables = [read_table(path) for path in sources.tables]
    return HTML.get_template("report.html.j2").render(
        style=Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("shared.css", "report.css"))),
        answer=_answer(tables),
        significant=SIGNIFICANT,
        example=typed_example(runs, sources.results),
        facts=facts(runs),
        budgets=budgets(runs),
        times=times(sources.results / "benchmarks"),
        duration=duration,
        rule_graph=draw_rule_graph(read_rule_graph(sources.rule_graph)),
        tables=[_table(*named, runs) for named in zip(sources.tables.values(), tables, strict=True)],
        tasks=[_task(task, of_task, sources.results) for task, of_task in by_task.items()],
        motivating_example=_data_uri(figures / "motivating_example.png"),
        docs={name: render_file(path, 3) for name, path in sources.docs.items()},
    )


def _answer(tables: Sequence[Table]) -> dict:
    """The first screen: what the intervals support, and the forest plot."""
    results = results_of(tables, tables[0].scale)
    panels = forest_panels(results, over_tasks(results.values()))
    return {
        "bullets": [Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)) for text in answers(results)],
        "figure": _panels(panels, "forest"),
        "note": forest_note(results) if panels else "",
    }


def _table(title: str, table: Table, runs: Sequence[Run]) -> dict:
    """The parts of a table's page: what its intervals support, its first grid, and the rest, which is folded."""
    files = [run.metrics_file for run in runs if run.task == table.task and run.variant in table.variants]
    comparison = read_comparison(files)
    if table.metric:
        page = scores_page(title, table, comparison)
    else:
        shown = {file: file.with_name("shown.jsonl") for file in files}
        page = texts_page(title, table, comparison, shown_of(comparison, shown))
    panels = difference_panels(table) or score_panels(table) if table.metric else text_panels(table)
    return {
        "name": table.name,
        "title": title,
        **{block: page.part(block, 4) for block in ("in_short", "first", "rest")},
        "older_errors": _panels(older_error_panels(table), f"{table.name}-older-errors"),
        "figure": _panels(panels, table.name),
        "note": (NOTE if table.metric else TEXTS_NOTE).format(sample_size(table)),
    }


def _panels(panels: Sequence[Panel], name: str) -> dict:
    """Dot plots as SVGs, next to or below each other, and their legend."""
    drawn = [
        _inline(svg, f"{name}-{i}-", f"{panel.axis}, {panel.title}")
        for i, (svg, panel) in enumerate(zip(panel_svgs(panels), panels, strict=True))
    ]
    series = [(label, VARIABLES[colour], filled) for label, (colour, filled) in legend_of(panels).items()]
    return {"panels": drawn, "series": series}


def _task(task: str, runs: Sequence[Run], results: Path) -> dict:
    """Figures and completions of one task; completions of its first seed."""
    first = [run for run in runs if run.seed == runs[0].seed]
    figures = results / "figures"
    return {
        "name": task,
        "family": runs[0].family,
        "split": evaluated_split(runs[0]),
        "seed": runs[0].seed,
        **{kind.name: partial(_svg, kind / f"{task}.svg") for kind in figures.iterdir() if kind.is_dir()},
        "questions": first_questions(first, results / task / "examples"),
    }


def _svg(path: Path, alternative: str) -> Markup:
    """An SVG file as a part of the page; ``alternative`` says what it shows."""
    return _stacking(_read(path), f"{path.parent.name}-{path.stem}-", alternative)


def _stacking(svg: str, prefix: str, alternative: str) -> Markup:
    """A figure of several panels: as it was drawn, and for a narrow page its parts, one below the other."""
    whole, parts = _inline(svg, prefix, alternative), re.search(r'data-parts="([^"]*)"', svg)
    if not parts:
        return whole
    view = Markup('<svg role="img" aria-label="{}, part {}" viewBox="{}" width="{}pt"><use href="#{}figure_1"/></svg>')
    boxes = [box.split(",") for box in parts[1].split()]
    shown = [view.format(alternative, i, " ".join(b), b[2], prefix) for i, b in enumerate(boxes, start=1)]
    return Markup('<div class="whole">{}</div><div class="parts">{}</div>').format(whole, Markup("").join(shown))


def _inline(svg: str, prefix: str, alternative: str) -> Markup:
    """An SVG as a part of the page, its ids made unique by ``prefix``."""
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda found: found[0] + prefix, svg)
    return Markup(text.replace("<svg", Markup('<svg role="img" aria-label="{}"').format(alternative), 1))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"'{path}' is missing: run make report, which draws it first") from error


def _data_uri(path: Path) -> str:
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise UserError(f"'{path}' is missing: run make report, which draws it first") from error


# ---- what was run, where, and how long it took ------------------------------------------------------


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
