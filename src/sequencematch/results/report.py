"""The report: its parts are read from a scale's files, and one template combines them."""

import base64
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from statistics import median

from markupsafe import Markup

from sequencematch.data.examples import load_examples
from sequencematch.data.tokenizer import Tokenizer, load_tokenizer
from sequencematch.errors import UserError
from sequencematch.results.deletions import pieces
from sequencematch.results.estimates import Table, read_table
from sequencematch.results.figures import (
    NOTE,
    TEXTS_NOTE,
    Panel,
    difference_panels,
    forest_note,
    forest_panels,
    legend_of,
    older_error_panels,
    panel_svgs,
    score_panels,
    text_panels,
)
from sequencematch.results.measure import over_tasks, results_of
from sequencematch.results.pages import HTML, TEMPLATES, marked, render_file, scores_page, shown_of, texts_page
from sequencematch.results.readme import answers
from sequencematch.results.run_figures import first_dead_end, plot_dead_end
from sequencematch.results.runs import BUDGET_NAMES, Run, evaluated_split, read_comparison, read_records, read_runs
from sequencematch.results.theme import VARIABLES
from sequencematch.results.words import SIGNIFICANT, duration, sample_size
from sequencematch.settings.families import FAMILIES
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
    motivating_example = base64.b64encode(_drawn(figures / "motivating_example.png")).decode()
    return HTML.get_template("report.html.j2").render(
        style=Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("shared.css", "report.css"))),
        answer=_first_screen(tables),
        significant=SIGNIFICANT,
        example=typed_example(runs, sources.results),
        dead_end=_dead_end(runs, sources.results),
        facts=facts(runs),
        budgets=budgets(runs),
        times=times(sources.results / "benchmarks"),
        duration=duration,
        rule_graph=draw_rule_graph(read_rule_graph(sources.rule_graph)),
        tables=[_table(*named, runs) for named in zip(sources.tables.values(), tables, strict=True)],
        tasks=[_task(task, of_task, sources.results) for task, of_task in by_task.items()],
        motivating_example=f"data:image/png;base64,{motivating_example}",
        docs={name: render_file(path, 3) for name, path in sources.docs.items()},
    )


def _first_screen(tables: Sequence[Table]) -> dict:
    """The first screen: what the intervals support, and the forest plot."""
    results = results_of(tables, tables[0].scale)
    lines = over_tasks(results.values())
    panels = forest_panels(results, lines)
    return {
        "bullets": [Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)) for text in answers(results)],
        "figure": _panels(panels, "forest"),
        "note": forest_note(results, lines) if panels else "",
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
    return _stacking(_drawn(path).decode(), f"{path.parent.name}-{path.stem}-", alternative)


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


def _drawn(path: Path) -> bytes:
    try:
        return path.read_bytes()
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


# ---- completions ------------------------------------------------------------------------------------


SHOWN = 4  # questions of a task


@dataclass(frozen=True)
class Answer:
    """What one variant typed, and how it was scored ('' if it was not)."""

    name: str
    typed: Markup
    outcome: str


@dataclass(frozen=True)
class Question:
    """A prompt, its reference completion, and every variant's answer."""

    prompt: str
    solution: str
    answers: list[Answer]


def first_questions(runs: Sequence[Run], examples: Path) -> list[Question]:
    """The first examples of the evaluated split, as the runs of one task and seed completed them with sampling.

    examples: the task's folder of them.
    """
    tokenizer, (splits, _) = load_tokenizer(runs[0].model), load_examples(examples)
    answers = [
        [_answer(run, record, tokenizer) for record in islice(read_records(run, "sampled"), SHOWN)] for run in runs
    ]
    return [
        Question(tokenizer.decode(example.prompt), example.text, list(of_example))
        for example, of_example in zip(splits[evaluated_split(runs[0])], zip(*answers, strict=True), strict=False)
    ]


def _answer(run: Run, record: dict, tokenizer: Tokenizer) -> Answer:
    typed = [(tokenizer.decode(tokens), fate) for tokens, fate in pieces(record["actions"], tokenizer.bkspc)]
    return Answer(run.variant.name, Markup(marked(typed)), _outcome(run, record))


def _outcome(run: Run, record: dict) -> str:
    """Whether an answer is right; of a translation, only whether it equals the reference."""
    same = record["text"] == record["solution"]
    if not record["finished"]:
        return "cut off"
    words = {"accuracy": ("wrong", "right"), "bleu": ("", "the reference")}
    return words.get(FAMILIES[run.family].score, ("", ""))[same]


def typed_example(runs: Sequence[Run], results: Path) -> Question | None:
    """The first sampled answer of SequenceMatch that deletes and equals the reference; else the first that deletes.

    Questions come first, because every reader can check their answer. None if nothing was deleted.
    """
    deleting = None
    chosen = [run for run in runs if run.variant.family == "sm" and run.seed == runs[0].seed]
    for run in sorted(chosen, key=lambda run: FAMILIES[run.family].score != "accuracy"):
        for record in read_records(run, "sampled"):
            right = record["finished"] and record["text"] == record["solution"]
            if record["pops"] and (right or deleting is None):
                deleting = run, record
            if record["pops"] and right:
                return _alone(run, record, results)
    return _alone(*deleting, results) if deleting else None


def _dead_end(runs: Sequence[Run], results: Path) -> Markup | None:
    """A dead end that BC walked into and deleted, sampled, as a drawing; None where there is none."""
    for run in runs:
        if run.family == "graphs" and run.variant.family == "bc":
            tokenizer, (splits, _) = load_tokenizer(run.model), load_examples(results / run.task / "examples")
            prompts = [tokenizer.decode(example.prompt) for example in splits[evaluated_split(run)]]
            found = first_dead_end((prompts[record["example"]], record) for record in read_records(run, "sampled"))
            if found:
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / "dead_end.svg"
                    plot_dead_end(*found, "", file)
                    alternative = "A wrong arm of a graph is walked, deleted, and another one walked"
                    return _stacking(file.read_text(), "dead-end-", alternative)
    return None


def _alone(run: Run, record: dict, results: Path) -> Question:
    """One answer with its prompt."""
    tokenizer, (splits, _) = load_tokenizer(run.model), load_examples(results / run.task / "examples")
    example = splits[evaluated_split(run)][record["example"]]
    return Question(tokenizer.decode(example.prompt), example.text, [_answer(run, record, tokenizer)])


# ---- the rules of the workflow ----------------------------------------------------------------------


NODE = re.compile(r'^\s*(\d+)\[label = "([^"\\]+)', re.M)
EDGE = re.compile(r"^\s*(\d+) -> (\d+)\s*$", re.M)
WIDTH, HEIGHT, ACROSS, DOWN = 190, 30, 20, 26  # of a box, and between boxes


def read_rule_graph(path: Path) -> dict[str, set[str]]:
    """The rules, each with those whose results it reads. Raises UserError if the file is no such graph."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not there or no text file: run the rule draw_rules") from error
    names = dict(NODE.findall(text))
    if not names:
        raise UserError(f"'{path}' holds no rule graph: delete it and run again")
    graph: dict[str, set[str]] = {name: set() for name in names.values()}
    for before, after in EDGE.findall(text):
        graph[names[after]].add(names[before])
    return graph


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows that follow from others."""
    reach: dict[str, set[str]] = {}
    for rule in _in_order(graph):
        reach[rule] = graph[rule].union(*(reach[before] for before in graph[rule]))
    return {rule: {b for b in before if not any(b in reach[o] for o in before)} for rule, before in graph.items()}


def draw_rule_graph(graph: dict[str, set[str]]) -> Markup:
    """The rules as boxes with arrows, each below the rules that it needs; SVG in the page's colours."""
    graph = reduced(graph)
    depth: dict[str, int] = {}
    for rule in _in_order(graph):
        depth[rule] = 1 + max((depth[before] for before in graph[rule]), default=-1)
    for rule in graph:  # a rule that reads nothing is placed right above its readers
        if not graph[rule]:
            depth[rule] = min((depth[after] for after in graph if rule in graph[after]), default=1) - 1
    layers = [sorted(rule for rule in graph if depth[rule] == d) for d in range(max(depth.values()) + 1)]
    widest = max(map(len, layers))
    place: dict[str, tuple[float, float]] = {}
    for d, layer in enumerate(layers):
        # Below what it needs: the order of a layer follows the mean place of its rules' inputs.
        layer.sort(key=lambda r: sum(place[b][0] for b in graph[r]) / len(graph[r]) if graph[r] else float("inf"))
        for k, rule in enumerate(layer):
            place[rule] = ((k + (widest - len(layer)) / 2) * (WIDTH + ACROSS), d * (HEIGHT + DOWN))
    width, height = widest * (WIDTH + ACROSS) - ACROSS, len(layers) * (HEIGHT + DOWN) - DOWN
    parts = [
        Markup('<svg viewBox="-2 -2 {} {}" style="max-width:{}px" role="img" aria-label="{}">').format(
            width + 4, height + 4, width, _in_words(graph)
        ),
        Markup('<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"'
               ' orient="auto"><path d="M0 0L8 4L0 8z" class="arrow"/></marker></defs>'),
    ]  # fmt: skip
    for rule, before in graph.items():
        for other in sorted(before):
            (x0, y0), (x1, y1) = place[other], place[rule]
            x0, y0, x1 = x0 + WIDTH / 2, y0 + HEIGHT, x1 + WIDTH / 2
            bend = (y0 + y1) / 2
            path = f"M{x0:g} {y0:g}C{x0:g} {bend:g} {x1:g} {bend:g} {x1:g} {y1:g}"
            parts.append(Markup('<path d="{}" class="edge" marker-end="url(#arrow)"/>').format(path))
    for rule, (x, y) in place.items():
        parts.append(
            Markup('<g transform="translate({:g} {:g})"><rect width="{}" height="{}" rx="6" class="box"/>'
                   '<text x="{:g}" y="{:g}" text-anchor="middle">{}</text></g>').format(
                x, y, WIDTH, HEIGHT, WIDTH / 2, HEIGHT / 2 + 4, rule)
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])


def _in_order(graph: dict[str, set[str]]) -> list[str]:
    """Every rule after those it needs."""
    from graphlib import TopologicalSorter

    return list(TopologicalSorter(graph).static_order())


def _in_words(graph: dict[str, set[str]]) -> str:
    return "Rules and what they read: " + "; ".join(
        f"{rule} reads {', '.join(sorted(before))}" for rule, before in graph.items() if before
    )
