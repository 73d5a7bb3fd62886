"""The report: every part gathered from a scale's files, then one template. Nothing on the page is typed by hand."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sequencematch.errors import UserError
from sequencematch.report.beside import beside_paper
from sequencematch.report.facts import budgets, duration, facts, times
from sequencematch.report.noise_levels import read_cells
from sequencematch.report.prose import render_file
from sequencematch.report.questions import first_questions
from sequencematch.report.rule_graph import draw_rule_graph, read_rule_graph
from sequencematch.scores.runs import Run, evaluated_split, read_runs
from sequencematch.tables.document import MARKS, embedded

TEMPLATE, STYLE = (Path(__file__).with_name(name) for name in ("report.html", "report.css"))


@dataclass(frozen=True)
class Sources:
    """The files behind a page. ``results`` is the scale's folder: figures, examples and benchmarks are found in it;
    metrics, and the page of each table (Markdown, or HTML where it has one; CSV and Markdown beside it), in the order
    of the page; docs by the name of their section."""

    results: Path
    metrics: Sequence[Path]
    tables: Sequence[Path]
    rule_graph: Path
    docs: dict[str, Path]


def render_page(sources: Sources) -> str:
    """The page as HTML, without a reference to anything outside it."""
    runs, figures = read_runs(sources.metrics), sources.results / "figures"
    took = times(sources.results / "benchmarks")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    tasks = {task: list(of_task) for task, of_task in groupby(runs, key=lambda run: run.task)}
    return template.render(
        style=Markup(MARKS + STYLE.read_text(encoding="utf-8")),
        facts=facts(runs),
        budgets=budgets(runs),
        times=took,
        duration=duration,
        rule_graph=draw_rule_graph(read_rule_graph(sources.rule_graph)),
        tables=[_table(page, figures) for page in sources.tables],
        tasks=[_task(task, of_task, sources.results) for task, of_task in tasks.items()],
        motivating_example=_data_uri(figures / "motivating_example.png"),
        docs={name: render_file(path, 3) for name, path in sources.docs.items()},
    )


def _table(page: Path, figures: Path) -> dict:
    title = _read(page.with_suffix(".md")).partition("\n")[0].removeprefix("# ")
    return {
        "name": page.stem,
        "title": title,
        "beside": beside_paper(read_cells(page.with_suffix(".csv"))),
        "figure": partial(_svg, figures / "noise_levels" / f"{page.stem}.svg"),
        "body": Markup(embedded(_read(page), 2)) if page.suffix == ".html" else render_file(page, 4),
    }


def _task(task: str, runs: Sequence[Run], results: Path) -> dict:
    """Figures and completions of one task; completions of its first seed."""
    first = [run for run in runs if run.seed == runs[0].seed]
    figures = results / "figures"
    return {
        "name": task,
        "family": runs[0].family,
        "split": evaluated_split(runs[0]),
        "seed": runs[0].seed,
        "learning_curves": partial(_svg, figures / "learning_curves" / f"{task}.svg"),
        "masks": partial(_svg, figures / "masks" / f"{task}.svg"),
        "backspaces": partial(_svg, figures / "backspaces" / f"{task}.svg"),
        "questions": first_questions(first, results / task / "examples"),
    }


def _svg(path: Path, alternative: str) -> Markup:
    """An SVG file to stand in the page, with what it shows in words; its ids made unique to it."""
    text = _read(path)
    prefix = f"{path.parent.name}-{path.stem}-"
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda found: found[0] + prefix, text)
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
