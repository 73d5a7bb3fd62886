"""Keep a scale's tables and figures as its reference: ``keep_reference.py SCALE``, after a run of committed code.

Writes results/reference/<scale>/: tables, figures, and provenance.json (commits, configuration, budgets, packages,
machine, time spent), and the README's short form of the tables, between its two markers. Refuses results of
uncommitted code, for nobody could trace them.
"""

import csv
import json
import shutil
import sys
from pathlib import Path

from sequencematch import cli, provenance
from sequencematch.config import DEFAULT_SCALE, load_config, scale_overlay
from sequencematch.errors import UserError

BEGIN, END = "<!-- tables: make reference -->", "<!-- end of tables -->"
COLUMNS = {
    "sampled": ("sampled", "accuracy"),
    "greedy": ("greedy", "accuracy"),
    "perturbed at 0.1": ("perturbed=0.1", "accuracy"),
    "repair": ("", "repair_rate"),
    "false alarm": ("", "false_alarm_rate"),
}


def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("name the scale whose results to keep: make reference SCALE=default")
    scale = sys.argv[1]
    config = load_config(Path("config.yaml"), *scale_overlay(Path("workflow/scales"), scale))
    results, reference = Path("results") / scale, Path("results/reference") / scale
    runs = {str(f.parent.relative_to(results)): json.loads(f.read_text()) for f in results.rglob("metrics.json")}
    kept = [*(results / "tables").glob("*"), *(results / "figures").glob("*.png")]
    kept = [file for file in kept if not file.name.endswith(provenance.RECORD)]
    if not runs or not kept:
        raise UserError(f"'{results}' holds no finished tables: run make SCALE={scale} first")
    commits = sorted({run["commit"] for run in runs.values()})
    if any("uncommitted" in commit for commit in commits):
        raise UserError(f"'{results}' comes from uncommitted code ({', '.join(commits)}): commit it and run again")
    shutil.rmtree(reference, ignore_errors=True)
    reference.mkdir(parents=True)
    for file in kept:
        shutil.copy(file, reference)
    benchmarks = (results / "benchmarks").rglob("*.tsv")
    content = {
        "commits": commits,
        **{name: provenance.describe()[name] for name in ("packages", "python", "machine")},
        "seconds_of_all_jobs": round(sum(float(f.read_text().splitlines()[1].split("\t")[0]) for f in benchmarks)),
        "budgets": {name: run["budget"] for name, run in sorted(runs.items())},
        "config": config.model_dump(mode="json"),
    }
    (reference / "provenance.json").write_text(json.dumps(content, indent=1) + "\n")
    if scale == DEFAULT_SCALE:
        readme = Path("README.md")
        before, _, rest = readme.read_text().partition(BEGIN)
        readme.write_text(before + BEGIN + "\n" + in_short(reference) + END + rest.partition(END)[2])
    print(f"kept {len(kept)} files of commit {', '.join(commits)} in {reference}")


def in_short(reference: Path) -> str:
    """The kept tables in a few columns each: mean and standard deviation over seeds, and the paper's number."""
    content = json.loads((reference / "provenance.json").read_text())
    parts = [f"Commit {', '.join(content['commits'])}; {content['machine']}; Python {content['python']}.\n"]
    for name, table in content["config"]["tables"].items():
        with (reference / f"{name}.csv").open() as file:
            cells = list(csv.DictReader(file))
        found = {(c["method"], c["eta"], c["decoding"], c["quantity"]): c for c in cells}
        parts.append(f"**{table['title']}** ([all of it](results/reference/{reference.name}/{name}.md))\n")
        parts.append("| method | eta | " + " | ".join(COLUMNS) + " | paper |\n|" + "---|" * (len(COLUMNS) + 3))
        for method, eta in dict.fromkeys((c["method"], c["eta"]) for c in cells):
            row = [found.get((method, eta, *column)) for column in COLUMNS.values()]
            paper = row[0]["paper_value"] + (f" ± {row[0]['paper_spread']}" if row[0]["paper_spread"] else "")
            label = [method.upper().replace("_", " "), eta if float(eta) else "none"]
            parts.append("| " + " | ".join([*label, *map(_spread, row), paper or "-"]) + " |")
        parts.append("")
    return "\n".join(parts)


def _spread(cell: dict | None) -> str:
    if cell is None:
        return "-"
    return f"{float(cell['mean']):.3f}" + (f" ± {float(cell['sd']):.3f}" if cell["sd"] else "")


if __name__ == "__main__":
    cli.run(main)
