"""The tables of subsets of a run's seeds: what the README would say of each, and how many verdicts differ.

python trials/compare_seeds.py results/default default 1,2,3 4,5,6
"""

import itertools
import shutil
import sys
import tempfile
from pathlib import Path

from sequencematch.config.load import load_config, scale_overlay
from sequencematch.results import estimates, measure, readme, runs, words

results, scale = Path(sys.argv[1]), sys.argv[2]
config = load_config(Path("config.yaml"), *scale_overlay(Path("workflow/scales"), scale))
found: dict[str, dict[tuple, str]] = {}
for subset in sys.argv[3:]:
    kept = Path(tempfile.mkdtemp()) / "reference"
    shutil.copytree("results/reference", kept)
    found[subset] = {}
    for name, table in config.tables.items():
        runs_of = [f"{method}/eta=*/seed={seed}" for method in table.methods for seed in subset.split(",")]
        paths = [file for run in runs_of for file in results.glob(f"{table.task}/{run}/metrics.json")]
        made = measure.measure(name, runs.read_comparison(sorted(paths)))
        (kept / scale / f"{name}.csv").write_text(estimates.estimates_csv(made))
        judged = [cell for cell in made.cells if cell.against and cell.p is not None]
        found[subset] |= {(name, cell.variant, cell.decoding, cell.name): words.verdict(cell) for cell in judged}
    print(f"seeds {subset}:\n{readme.blocks(kept, 'default')['answers']}")
for one, other in itertools.combinations(found, 2):
    changed = [(verdict, found[other][key]) for key, verdict in found[one].items() if found[other][key] != verdict]
    opposite = sum("not significant" not in both for both in changed)
    print(f"{one} vs. {other}: {len(changed)} of {len(found[one])} verdicts differ, {opposite} with the other sign")
