"""Keep a scale's tables and figures as its reference: ``keep_reference.py SCALE``, after a run of committed code.

Writes results/reference/<scale>/: tables, figures, the map's pages, and provenance.json (commits, configuration,
budgets, packages, machine, time spent); in overheads/ what steps and sampling cost, where that was measured; and
results/reference/forest.png, the differences to MLE on all tasks. Of the default scale it keeps a trained model and an
example of its typing, too, and of the graphs a picture of a dead end (keep_example.py). In the README and docs/ it
updates, between their markers, the short tables, what they support and the costs, and after the scale 'map' the quoted
numbers of docs/map.md.
Refuses results of uncommitted code, which nobody could trace.
"""

import json
import shutil
import sys
from pathlib import Path

import keep_example

from sequencematch import script
from sequencematch.config.experiment import DEFAULT_SCALE, Config
from sequencematch.config.load import load_config, scale_overlay
from sequencematch.errors import UserError
from sequencematch.results.figures import plot_forest
from sequencematch.results.measure import over_tasks
from sequencematch.results.readme import GRAPHS, OVERHEADS, blocks, kept_results, quote_map
from sequencematch.store import provenance
from sequencematch.store.files import RECORD

EXAMPLE = "mul/sm/eta=0.2/seed=1"  # the run whose model and typing are kept


def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("name the scale whose results to keep: make reference SCALE=default")
    scale = sys.argv[1]
    config = load_config(Path("config.yaml"), *scale_overlay(Path("workflow/scales"), scale))
    results, reference = Path("results") / scale, Path("results/reference") / scale
    kept = [*keep_tables(results, reference, config), *keep_overheads(results, reference, config)]
    if not kept:
        raise UserError(f"'{results}' holds no finished tables and no map: run make SCALE={scale} first")
    for name, text in blocks(reference.parent, DEFAULT_SCALE).items():
        write_block(name, text)
    everything = kept_results(reference.parent, DEFAULT_SCALE)
    plot_forest(everything, over_tasks(everything.values()), reference.parent / "forest.png")
    if scale == DEFAULT_SCALE and (results / EXAMPLE).is_dir():
        keep_example.keep_example(results / EXAMPLE, results / "mul/data")
        write_block("example", keep_example.block())
    if scale == GRAPHS:
        keep_example.keep_dead_end(results)
    if scale == "map":
        for file, text in quote_map(Path("docs/map.md"), Path("docs/map_numbers.csv"), reference).items():
            file.write_text(text)
    print(f"kept {len(kept)} files in {reference}")


def keep_tables(results: Path, reference: Path, config: Config) -> list[Path]:
    """Replace the kept tables and figures; returns the copied files, none where no run is finished."""
    runs = {str(f.parent.relative_to(results)): json.loads(f.read_text()) for f in results.rglob("metrics.json")}
    kept = [*(results / "tables").glob("*"), *(results / "figures").glob("*.png"), *(results / "map").glob("[!.]*")]
    kept = [file for file in kept if file.suffix != ".html"]  # the Markdown says the same in a tenth of the lines
    kept = [file for file in kept if not file.name.endswith(RECORD) and may_be_kept(file, config)]
    if not runs or not kept:
        return []
    check_current(runs, config)
    commits = sorted({run["commit"] for run in runs.values()})
    _replace(reference, kept, results, commits)
    if (curves := results / "figures/learning_curves").is_dir():
        records = shutil.ignore_patterns(f"*{RECORD}")
        shutil.copytree(curves, reference / "learning_curves", ignore=records, dirs_exist_ok=True)
    from sequencematch.training.bits import compatible_digest, digest  # imports torch

    benchmarks = (results / "benchmarks").rglob("*.tsv")
    content = {
        "commits": commits,
        **{name: provenance.describe()[name] for name in ("packages", "python", "machine")},
        # Of this machine, which made the results; native kernels promise no bits.
        "bits": digest() if config.jobs.kernels != "native" else "",
        "bits_compatible": compatible_digest(),
        "seconds_of_all_jobs": round(sum(float(f.read_text().splitlines()[1].split("\t")[0]) for f in benchmarks)),
        "budgets": {name: run["budget"] for name, run in sorted(runs.items())},
        # Kept tables may have more seeds than `make` takes: make CONFIG="seeds=[1,2,3,4,5]"
        "config": config.model_dump(mode="json") | {"seeds": sorted({run["seed"] for run in runs.values()})},
    }
    (reference / "provenance.json").write_text(json.dumps(content, indent=1) + "\n")
    return kept


def check_current(runs: dict[str, dict], config: Config) -> None:
    """Raises UserError where the batch or the steps of a run differ from the configuration that is kept with it."""
    for name, run in runs.items():
        settings = config.settings(run["task"], run["method"])
        schedule = settings["schedule"]
        said = {"batch": settings["optimiser"].batch, "steps": schedule.base_steps + schedule.steps}
        made = {quantity: run["budget"][quantity] for quantity in said}
        if made != said:
            raise UserError(f"'{name}' was made with {made}, and the configuration says {said}: run it again")


def keep_overheads(results: Path, reference: Path, config: Config) -> list[Path]:
    """Replace the kept costs of steps and sampling, in a folder of their own: they may come from another machine."""
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
    """Replace the files of a folder."""
    if any("uncommitted" in commit for commit in commits):
        raise UserError(f"'{results}' comes from uncommitted code ({', '.join(commits)}): commit it and run again")
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    for file in kept:
        shutil.copy(file, folder)


def write_block(name: str, text: str) -> None:
    """Put a text between the markers of a block, in the README or whichever pages of docs/ have them."""
    begin, end = markers(name)
    for page in documents_with(begin):
        before, _, rest = page.read_text().partition(begin)
        page.write_text(before + begin + "\n" + seen_from(page, text) + end + rest.partition(end)[2])


def markers(name: str) -> tuple[str, str]:
    """The lines between which a block stands."""
    return f"<!-- {name}: make reference -->", f"<!-- end of {name} -->"


def seen_from(page: Path, text: str) -> str:
    """The text with its links to results as a page has them: from the root, or from docs/."""
    return text.replace("](results/", "](../results/") if page.parent.name == "docs" else text


def documents_with(marker: str) -> list[Path]:
    """The README and the pages of docs/ that hold a marker."""
    return [page for page in (Path("README.md"), *sorted(Path("docs").glob("*.md"))) if marker in page.read_text()]


def may_be_kept(file: Path, config: Config) -> bool:
    """Whether a file shows no passages of other people's texts. Such passages stay out of the repository."""
    table = config.tables.get(file.stem)
    data = config.tasks[table.task].data if table else None
    shows_text = data is not None and data.family == "text" and config.sources[data.source].kind != "generated"
    return not shows_text or file.suffix in (".csv", ".png")


if __name__ == "__main__":
    script.run(main)
