"""Keep a scale's tables and figures as its reference: ``keep_reference.py SCALE``, after a run of committed code.

Writes results/reference/<scale>/: tables, figures, and provenance.json (commits, configuration, budgets, packages,
machine, time spent). Refuses results of uncommitted code, for nobody could trace them.
"""

import json
import shutil
import sys
from pathlib import Path

from sequencematch import cli, provenance
from sequencematch.config import load_config, scale_overlay
from sequencematch.errors import UserError


def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("name the scale whose results to keep: make reference SCALE=default")
    scale = sys.argv[1]
    config = load_config(Path("config.yaml"), *scale_overlay(Path("workflow/scales"), scale))
    results, reference = Path("results") / scale, Path("results/reference") / scale
    runs = {str(f.parent.relative_to(results)): json.loads(f.read_text()) for f in results.rglob("metrics.json")}
    kept = [*(results / "tables").glob("*"), *(results / "figures").glob("*.png")]
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
    print(f"kept {len(kept)} files of commit {', '.join(commits)} in {reference}")


if __name__ == "__main__":
    cli.run(main)
