"""The scored runs of a scale, and what their folders say about them."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sequencematch.comparison import Variant
from sequencematch.errors import UserError
from sequencematch.scoring import read_json


@dataclass(frozen=True)
class Run:
    """A scored run: its names, its folder (samples.jsonl, model/), and the content of its metrics.json."""

    task: str
    variant: Variant
    seed: int
    folder: Path
    metrics: dict

    @property
    def model(self) -> Path:
        return self.folder / "model"


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs behind metrics.json files: tasks in the order given, their variants as tables order them."""
    runs = []
    for path in paths:
        metrics = read_json(path, "score the run again")
        try:
            variant = Variant(metrics["method"], metrics["eta"])
            runs.append(Run(metrics["task"], variant, metrics["seed"], path.parent, metrics))
        except KeyError as error:
            raise UserError(f"'{path}' lacks {error}: score the run again") from error
    tasks = list(dict.fromkeys(run.task for run in runs))
    return sorted(runs, key=lambda run: (tasks.index(run.task), run.variant.place, run.seed))


def read_training(model: Path) -> list[dict[str, str]]:
    """The lines of a model folder's metrics.csv."""
    try:
        with (model / "metrics.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{model}' holds no metrics.csv of a training run: train it again") from error
