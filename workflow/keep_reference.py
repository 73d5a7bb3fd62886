"""Keep a scale's tables and figures as its reference: ``keep_reference.py SCALE``, after a run of committed code.

Writes results/reference/<scale>/: tables, figures, what was made of a map, and provenance.json (commits,
configuration, budgets, packages, machine, time spent), and in overheads/ what steps and sampling cost, where that was
measured; the README's short forms of all that is kept, each between its two markers; and in docs/map.md what the scale
'map' says at a glance, and every number that names its place on it. Refuses results of uncommitted code, for nobody
could trace them.
"""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

from sequencematch import script
from sequencematch.config.experiment import DEFAULT_SCALE, Config, load_config, scale_overlay
from sequencematch.errors import UserError
from sequencematch.map.effects import LEVEL
from sequencematch.overheads.steps_table import LABELS
from sequencematch.scores.quantities import describe, key
from sequencematch.store import provenance
from sequencematch.store.files import RECORD

BEGIN, END = "<!-- tables: make reference -->", "<!-- end of tables -->"
GLANCE, GLANCE_END = "<!-- map: make reference -->", "<!-- end of map -->"
# A number of docs/map.md, and the place on the map where it stands: axis, cell, reading, quantity.
NUMBER = re.compile(r"(?:\*\*)?[+-]?\d[\d.]*(?:\*\*)?(?=<!--([^/>]+)/([^/>]+)/([^/>]+)/(\w+)-->)")
COSTS_BEGIN, COSTS_END = "<!-- overheads: make reference -->", "<!-- end of overheads -->"
OVERHEADS = "overheads"
# The columns of the short form of costs: heading, quantity.
COSTS = [
    ("step, times MLE", "step_ratio"),
    ("amortised, times MLE", "amortised_ratio"),
    ("token floor", "token_floor"),
    ("objective, share of step", "objective_share"),
]
# The columns of the short form, each shown in the tables that have it: heading, decoding, quantity. Where repair was
# measured after several kinds of wrong tokens, the first is shown.
COLUMNS = [
    *(
        (label, decoding, metric)
        for metric in ("accuracy", "bleu")
        for label, decoding in (("sampled", "sampled"), ("greedy", "greedy"), ("perturbed at 0.1", "perturbed=0.1"))
    ),
    ("perplexity", "sampled", "perplexity"),
    ("MAUVE", "sampled", "mauve"),
    ("MAUVE, top-p 0.95", "top_p=0.95", "mauve"),
    ("held-out NLL", "", "held_out_nll"),
    ("repair", "", "repair_rate"),
    ("false alarm", "", "false_alarm_rate"),
]


def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("name the scale whose results to keep: make reference SCALE=default")
    scale = sys.argv[1]
    config = load_config(Path("config.yaml"), *scale_overlay(Path("workflow/scales"), scale))
    results, reference = Path("results") / scale, Path("results/reference") / scale
    kept = [*keep_tables(results, reference, config), *keep_overheads(results, reference, config)]
    if not kept:
        raise UserError(f"'{results}' holds no finished tables and no map: run make SCALE={scale} first")
    _write_between("README.md", BEGIN, END, in_short(reference.parent))
    _write_between("README.md", COSTS_BEGIN, COSTS_END, costs_in_short(reference.parent))
    if scale == "map":
        told = Path("docs/map.md")
        told.write_text(with_map(told.read_text(), reference))
    print(f"kept {len(kept)} files in {reference}")


def keep_tables(results: Path, reference: Path, config: Config) -> list[Path]:
    """Copy tables and figures in the place of those kept before; the copied files, none where no run is finished."""
    runs = {str(f.parent.relative_to(results)): json.loads(f.read_text()) for f in results.rglob("metrics.json")}
    kept = [*(results / "tables").glob("*"), *(results / "figures").glob("*.png"), *(results / "map").glob("[!.]*")]
    kept = [file for file in kept if not file.name.endswith(RECORD) and may_be_kept(file, config)]
    if not runs or not kept:
        return []
    check_current(runs, config)
    commits = sorted({run["commit"] for run in runs.values()})
    _replace(reference, kept, results, commits)
    benchmarks = (results / "benchmarks").rglob("*.tsv")
    content = {
        "commits": commits,
        **{name: provenance.describe()[name] for name in ("packages", "python", "machine")},
        "seconds_of_all_jobs": round(sum(float(f.read_text().splitlines()[1].split("\t")[0]) for f in benchmarks)),
        "budgets": {name: run["budget"] for name, run in sorted(runs.items())},
        "config": config.model_dump(mode="json"),
    }
    (reference / "provenance.json").write_text(json.dumps(content, indent=1) + "\n")
    return kept


def check_current(runs: dict[str, dict], config: Config) -> None:
    """Raises UserError where a run had another batch or other steps than the configuration, which is kept beside it."""
    for name, run in runs.items():
        settings = config.settings(run["task"], run["method"])
        schedule = settings["schedule"]
        said = {"batch": settings["optimiser"].batch, "steps": schedule.base_steps + schedule.steps}
        made = {quantity: run["budget"][quantity] for quantity in said}
        if made != said:
            raise UserError(f"'{name}' was made with {made}, and the configuration says {said}: run it again")


def keep_overheads(results: Path, reference: Path, config: Config) -> list[Path]:
    """The same for what steps and sampling cost, in a folder of its own: it may have been measured elsewhere."""
    kept = [f for f in (results / "overheads").glob("*.*") if f.suffix in (".csv", ".md", ".png")]
    if not kept:
        return []
    measured = sorted((results / "overheads").glob("*/*/facts.json"))
    facts = {f"{file.parts[-3]}/{file.parts[-2]}": json.loads(file.read_text()) for file in measured}
    commits = sorted({one["commit"] for one in facts.values()})
    _replace(reference / OVERHEADS, kept, results, commits)
    content = {"commits": commits, "packages": provenance.describe()["packages"], "measured": facts}
    content["config"] = config.model_dump(mode="json", include={"overheads", "model"})
    (reference / OVERHEADS / "provenance.json").write_text(json.dumps(content, indent=1) + "\n")
    return kept


def _replace(folder: Path, kept: list[Path], results: Path, commits: list[str]) -> None:
    """Copy files into a folder, in the place of those in it."""
    if any("uncommitted" in commit for commit in commits):
        raise UserError(f"'{results}' comes from uncommitted code ({', '.join(commits)}): commit it and run again")
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    for file in kept:
        shutil.copy(file, folder)


def _write_between(readme: str, begin: str, end: str, text: str) -> None:
    before, _, rest = Path(readme).read_text().partition(begin)
    Path(readme).write_text(before + begin + "\n" + text + end + rest.partition(end)[2])


def with_map(text: str, reference: Path) -> str:
    """A text with what the kept map says at a glance between its two markers, and its tagged numbers as the map has
    them: differences with their sign, and in bold where they stand."""
    page = (reference / "map.md").read_text()
    parts = [part.partition("\n")[2].strip() for part in page.split("\n## ")[:2]]  # without their headings
    before, _, rest = text.partition(GLANCE)
    text = "\n".join([before + GLANCE, parts[0], "", parts[1], GLANCE_END]) + rest.partition(GLANCE_END)[2]
    with (reference / "map.csv").open() as file:
        rows = {(row["axis"], row["at"], row["reading"], row["quantity"]): row for row in csv.DictReader(file)}

    def written(found: re.Match) -> str:
        if found.groups() not in rows:
            raise UserError(f"docs/map.md names a place that is not on the map: {'/'.join(found.groups())}")
        mean, p = (rows[found.groups()][name] for name in ("mean", "p_corrected"))
        if not p:
            return f"{float(mean):.1f}"
        bold = "**" * (float(p) < LEVEL)
        return f"{bold}{float(mean):+.1f}{bold}"

    return NUMBER.sub(written, text)


def may_be_kept(file: Path, config: Config) -> bool:
    """Pages that show passages of other people's texts stay out of the repository; numbers and figures may enter."""
    table = config.tables.get(file.stem)
    data = config.tasks[table.task].data if table else None
    shows_text = data is not None and data.family == "text" and config.sources[data.source].kind != "generated"
    return not shows_text or file.suffix in (".csv", ".png")


def in_short(kept: Path) -> str:
    """The tables of all scales kept in a folder, the default one first."""
    return "\n".join(filter(None, map(_scale_in_short, _scales(kept, "provenance.json"))))


def _scales(kept: Path, file: str) -> list[Path]:
    """The scales that have a file, the default one first."""
    having = [folder for folder in kept.iterdir() if (folder / file).is_file()]
    return sorted(having, key=lambda folder: (folder.name != DEFAULT_SCALE, folder.name))


def costs_in_short(kept: Path) -> str:
    """What steps and sampling cost, of all scales: ratios to MLE, their token floors, and the paper's."""
    parts = []
    for scale in _scales(kept, f"{OVERHEADS}/provenance.json"):
        content = json.loads((scale / OVERHEADS / "provenance.json").read_text())
        for name, table in content["config"]["overheads"].items():
            file = scale / OVERHEADS / f"{name}.csv"
            if file.is_file():
                facts = content["measured"][f"{name}/steps"]
                link = file.with_suffix(".md").relative_to(kept.parents[1])
                where = f"commit {facts['commit']}; {facts['machine']}, {facts['device']}"
                parts += [f"**{table['title']}** ([all of it]({link}); {where})\n", *_cost_rows(file), ""]
                pages = sorted(file.parent.glob(f"{name}_*.md"))
                parts += [*(_benchmark(page, kept.parents[1]) for page in pages), *[""] * bool(pages)]
    return "\n".join(parts)


def _benchmark(page: Path, root: Path) -> str:
    """'[Title](page): what it says of its budgets.'"""
    text = page.read_text()
    title = text.splitlines()[0].removeprefix("# ")
    verdicts = [line.removeprefix("- ") for line in text.partition("## Budgets")[2].splitlines() if line]
    return f"- [{title}]({page.relative_to(root)})" + ": " * bool(verdicts) + " ".join(verdicts)


def _cost_rows(file: Path) -> list[str]:
    with file.open() as stream:
        cells = list(csv.DictReader(stream))
    found = {(c["case"], c["row"], c["quantity"]): c for c in cells}
    header = ["lengths", "row", *(heading for heading, _ in COSTS), "paper, step", "paper, amortised"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for case, row in dict.fromkeys((c["case"], c["row"]) for c in cells):
        ratios = [found[case, row, quantity] for _, quantity in COSTS]
        numbers = [f"{float(cell['median']):.2f}" for cell in ratios]
        papers = [found[case, row, quantity]["paper_value"] for quantity in ("step_ratio", "amortised_ratio")]
        papers = [f"{float(paper):.2f}" if paper else "-" for paper in papers]
        lines.append("| " + " | ".join([case, LABELS[row], *numbers, *papers]) + " |")
    return lines


def _scale_in_short(reference: Path) -> str:
    """A scale's tables in a few columns each: mean and standard deviation over seeds, and the paper's number; nothing
    where it has no tables."""
    content = json.loads((reference / "provenance.json").read_text())
    if not content["config"]["tables"]:
        return ""
    where = f"commit {', '.join(content['commits'])}; {content['machine']}; Python {content['python']}"
    parts = [f"Scale `{reference.name}`, {len(content['config']['seeds'])} seeds; {where}.\n"]
    for name, table in content["config"]["tables"].items():
        with (reference / f"{name}.csv").open() as file:
            cells = list(csv.DictReader(file))
        page = next(f for f in (reference / f"{name}.md", reference / f"{name}.csv") if f.is_file())
        parts.append(f"**{table['title']}** ([all of it]({page.relative_to(reference.parents[2])}))\n")
        parts += [*_rows(cells), ""]
    return "\n".join(parts)


def _rows(cells: list[dict]) -> list[str]:
    """The lines of a short table."""
    found = {(c["method"], c["eta"], c["decoding"], c["quantity"]): c for c in cells}
    quantities = list(dict.fromkeys((c["decoding"], c["quantity"]) for c in cells))
    columns = {}
    for heading, decoding, wanted in COLUMNS:
        having = [name for where, name in quantities if where == decoding and name.partition("[")[0] == wanted]
        if having:
            columns[heading + (f" ({key(having[0])})" if key(having[0]) else "")] = (decoding, having[0])
    papers = {(c["method"], c["eta"]): _paper(c) for c in cells if c["paper_value"]}
    header = ["method", "eta", *columns, *(["paper"] if papers else [])]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for run in dict.fromkeys((c["method"], c["eta"]) for c in cells):
        # The numbers of real text are of no decoding.
        row = [found.get((*run, *column)) or found.get((*run, "", column[1])) for column in columns.values()]
        paper = [papers.get(run, "-")] if papers else []
        lines.append("| " + " | ".join([*_label(*run), *map(_spread, row), *paper]) + " |")
    return lines


def _label(method: str, eta: str) -> list[str]:
    if method == "reference":
        return ["real text", ""]
    return [method.upper().replace("_", " "), eta if float(eta) else "none"]


def _paper(cell: dict) -> str:
    return cell["paper_value"] + (f" ± {cell['paper_spread']}" if cell["paper_spread"] else "")


def _spread(cell: dict | None) -> str:
    if cell is None:
        return "-"
    digits = describe(cell["quantity"]).digits
    return f"{float(cell['mean']):.{digits}f}" + (f" ± {float(cell['sd']):.{digits}f}" if cell["sd"] else "")


if __name__ == "__main__":
    script.run(main)
