"""The report: its parts are read from a scale's files, and one template combines them."""

import base64
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

from markupsafe import Markup

from sequencematch.data.examples import Example, load_examples
from sequencematch.data.tokenizer import Tokenizer, load_tokenizer
from sequencematch.results import deletions, figures, measure, readme, run_figures, words
from sequencematch.results.estimates import Table, grouped, read_table
from sequencematch.results.pages import HTML, marked, render_file, styles, table_page
from sequencematch.results.runs import Run, evaluated_split, read_comparison, read_records, read_runs
from sequencematch.results.sound import sound
from sequencematch.settings.families import FAMILIES
from sequencematch.store.files import read_bytes, read_csv, read_text
from sequencematch.store.provenance_schema import read_facts

DRAW = "run make report, which draws it first"


def render_page(results: Path, metrics: Sequence[Path], tables: Mapping[Path, str], docs: Mapping[str, Path]) -> str:
    """The page as HTML, without references to anything outside it.

    results: the scale's folder, with figures, examples and benchmarks. metrics: those of every run. tables: the title
    of each CSV, in the order of the report. docs: files of Markdown, by the name of their section.
    """
    runs, read = read_runs(metrics), [read_table(path) for path in tables]
    motivating_example = base64.b64encode(read_bytes(results / "figures/motivating_example.png", DRAW)).decode()
    return HTML.get_template("report.html.j2").render(
        style=styles("shared.css", "report.css"),
        answer=_first_screen(read),
        example=typed_example(runs, results),
        dead_end=_dead_end(runs, results),
        facts=facts(runs),
        times=times(results / "benchmarks"),
        duration=words.duration,
        tables=[_table(title, table, runs) for title, table in zip(tables.values(), read, strict=True)],
        tasks=[_task(task, of_task, results) for task, of_task in grouped(runs, lambda run: run.task).items()],
        motivating_example=f"data:image/png;base64,{motivating_example}",
        docs={name: render_file(path, 3) for name, path in docs.items()},
    )


def _first_screen(tables: Sequence[Table]) -> dict:
    """The first screen: what the intervals support, and the forest plot."""
    results = measure.results_of(tables, tables[0].scale)
    lines = measure.over_tasks(results.values())
    drawn, draw = figures.forest_panels(results, lines), partial(figures.plot_forest, results, lines)
    bold = re.compile(r"\*\*(.+?)\*\*")
    return {
        "bullets": [Markup(bold.sub(r"<strong>\1</strong>", text)) for text in readme.answers(results)],
        "figure": _figure(draw, "forest", "Paired differences to MLE on each task") if drawn else "",
    }


def _table(title: str, table: Table, runs: Sequence[Run]) -> dict:
    """The parts of a table's page: what its intervals support, its first grid, and the rest, which is folded."""
    files = [run.metrics_file for run in runs if run.task == table.task and run.variant in table.variants]
    page = table_page(title, table, read_comparison(files))
    return {
        "name": table.name,
        "title": title,
        **{block: page.part(block, 4) for block in ("in_short", "first", "rest")},
        "figure": _figure(partial(figures.plot_table, table, title), table.name, f"{title}: the figure of the table"),
    }


def _figure(draw: Callable[[Path], None], name: str, alternative: str) -> Markup:
    """What a function draws, as a part of the page."""
    with tempfile.TemporaryDirectory() as folder:
        draw(file := Path(folder) / "figure.svg")
        return _inline(file.read_text(encoding="utf-8"), f"{name}-", alternative)


def _task(task: str, runs: Sequence[Run], results: Path) -> dict:
    """Figures and completions of one task; completions of its first seed."""
    first = [run for run in runs if run.seed == runs[0].seed]
    drawn = results / "figures"
    return {
        "name": task,
        "family": runs[0].family,
        "split": evaluated_split(runs[0]),
        "seed": runs[0].seed,
        **{kind.name: partial(_svg, kind / f"{task}.svg") for kind in drawn.iterdir() if kind.is_dir()},
        "questions": first_questions(first, results),
    }


def _svg(path: Path, alternative: str) -> Markup:
    return _inline(read_text(path, DRAW), f"{path.parent.name}-{path.stem}-", alternative)


def _inline(svg: str, prefix: str, alternative: str) -> Markup:
    """An SVG as a part of the page, its ids made unique by ``prefix``; ``alternative`` says what it shows."""
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda found: found[0] + prefix, svg)
    return Markup(text.replace("<svg", Markup('<svg role="img" aria-label="{}"').format(alternative), 1))


def times(benchmarks: Path) -> list[dict]:
    """Seconds per rule from Snakemake's benchmark files, the longest first. Raises UserError naming a damaged one."""
    seconds: dict[str, list[float]] = {}
    for file in sorted(benchmarks.rglob("*.tsv")):
        rows = read_csv(file, "make the report again", delimiter="\t")
        with sound(file, "seconds", "make the report again"):
            rule = "make_table" if file.parent.name == "tables" else file.stem
            seconds.setdefault(rule, []).extend(float(row["s"]) for row in rows)
    ran = sorted(((rule, s) for rule, s in seconds.items() if s), key=lambda item: -sum(item[1]))
    return [{"rule": rule, "jobs": len(s), "total": sum(s), "median": median(s), "longest": max(s)} for rule, s in ran]


def facts(runs: Sequence[Run]) -> dict[str, Iterable]:
    """What all runs share. Where they differ, all values are named."""
    provenance = [read_facts(run.model, "train it again", "packages", "machine", "python") for run in runs]
    return {
        "scale": {run.metrics["scale"] for run in runs},
        "tasks": dict.fromkeys(run.task for run in runs),
        "methods": dict.fromkeys(run.variant.label for run in runs),
        "noise levels": [f"{eta:g}" for eta in sorted({run.variant.eta for run in runs} - {0.0})],
        "seeds": sorted({run.seed for run in runs}),
        "trained models": [len(runs)],
        "commit": sorted({run.metrics["commit"] for run in runs}),
        "machine": sorted({p["machine"] for p in provenance}),
        "python": sorted({p["python"] for p in provenance}),
        "packages": sorted({f"{name} {version}" for p in provenance for name, version in p["packages"].items()}),
    }


SHOWN = 4  # questions of a task


def _asked(run: Run, results: Path) -> tuple[Tokenizer, Sequence[Example]]:
    """The tokenizer of a run, and the examples that it completed."""
    splits, _ = load_examples(results / run.task / "examples")
    return load_tokenizer(run.model), splits[evaluated_split(run)]


def first_questions(runs: Sequence[Run], results: Path) -> list[dict]:
    """The first examples of the evaluated split, as the runs of one task and seed completed them with sampling."""
    tokenizer, examples = _asked(runs[0], results)
    records = [(run, islice(read_records(run, "sampled"), SHOWN)) for run in runs]
    answers = zip(*([_answer(run, record, tokenizer) for record in first] for run, first in records), strict=True)
    return [_question(tokenizer, example, some) for example, some in zip(examples, answers, strict=False)]


def _question(tokenizer: Tokenizer, example: Example, answers: Sequence[dict]) -> dict:
    """A prompt, its reference completion, and answers."""
    return {"prompt": tokenizer.decode(example.prompt), "solution": example.text, "answers": answers}


def _answer(run: Run, record: dict, tokenizer: Tokenizer) -> dict:
    """What one variant typed, and whether it is right; of a translation, only whether it equals the reference."""
    typed = [(tokenizer.decode(tokens), fate) for tokens, fate in deletions.pieces(record["actions"], tokenizer.bkspc)]
    said = {"accuracy": ("wrong", "right"), "bleu": ("", "the reference"), "": ("", "")}[FAMILIES[run.family].score]
    outcome = said[record["text"] == record["solution"]] if record["finished"] else "cut off"
    return {"name": run.variant.name, "typed": Markup(marked(typed)), "outcome": outcome}


def typed_example(runs: Sequence[Run], results: Path) -> dict | None:
    """The first sampled answer of SequenceMatch that deletes and equals the reference; else the first that deletes.

    Questions come first, because every reader can check their answer. None if nothing was deleted.
    """
    chosen = [run for run in runs if run.variant.family == "sm" and run.seed == runs[0].seed]
    chosen.sort(key=lambda run: FAMILIES[run.family].score != "accuracy")
    deleting = [(run, record) for run in chosen for record in read_records(run, "sampled") if record["pops"]]
    right = (found for found in deleting if found[1]["finished"] and found[1]["text"] == found[1]["solution"])
    run, record = next(right, next(iter(deleting), (None, None)))
    if run is None or record is None:
        return None
    tokenizer, examples = _asked(run, results)
    return _question(tokenizer, examples[record["example"]], [_answer(run, record, tokenizer)])


def _dead_end(runs: Sequence[Run], results: Path) -> Markup | str:
    """A dead end of a graph that BC walked into and deleted, sampled, as a drawing; '' where there is none."""
    for run in runs:
        if run.family == "graphs" and run.variant.family == "bc":
            tokenizer, examples = _asked(run, results)
            walked = ((tokenizer.decode(examples[r["example"]].prompt), r) for r in read_records(run, "sampled"))
            if found := run_figures.first_dead_end(walked):
                alternative = "A wrong arm of a graph is walked, deleted, and another one walked"
                return _figure(partial(run_figures.plot_dead_end, *found, ""), "dead-end", alternative)
    return ""
