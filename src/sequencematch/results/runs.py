"""The scored runs of a scale, and what their folders say about them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results.metrics_file import read_metrics, recorded_split
from sequencematch.results.variants import Variant
from sequencematch.store.files import read_csv, read_json_lines


@dataclass(frozen=True)
class Run:
    """A scored run: its names, its folder, and the content of its metrics.json."""

    task: str
    variant: Variant
    seed: int
    folder: Path
    metrics: dict

    @property
    def family(self) -> str:
        """Of its task: arithmetic, translation or text."""
        return self.metrics["family"]

    @property
    def model(self) -> Path:
        """The run's model folder."""
        return self.folder / "model"

    @property
    def metrics_file(self) -> Path:
        """The file of the run's scores."""
        return self.folder / "metrics.json"

    @property
    def samples(self) -> Path:
        """The file of the run's samples."""
        return self.folder / "samples.jsonl"


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs behind metrics.json files: tasks in the order given, their variants as tables order them."""
    runs = []
    for path in paths:
        metrics = read_metrics(path)
        try:
            variant = Variant(metrics["method"], metrics["eta"])
            runs.append(Run(metrics["task"], variant, metrics["seed"], path.parent, metrics))
        except KeyError as error:
            raise UserError(f"'{path}' lacks {error}: score the run again") from error
    tasks = list(dict.fromkeys(run.task for run in runs))
    return sorted(runs, key=lambda run: (tasks.index(run.task), run.variant.place, run.seed))


def read_training(model: Path) -> list[dict[str, str]]:
    """The lines of a model folder's metrics.csv."""
    return read_csv(model / "metrics.csv", "train the model again")


def evaluated_split(run: Run) -> str:
    """The split that a run completed, from the record of its samples."""
    if not (split := recorded_split(run.samples)):
        raise UserError(f"the record of '{run.samples}' names no split: sample again")
    return split


def read_records(run: Run, decoding: str) -> Iterator[dict]:
    """The records of a run's samples in one decoding, in the order of the examples.

    Raises UserError if there are none.
    """
    for place, record in read_json_lines(run.samples, "sample again"):
        if "decoding" not in record:
            raise UserError(f"{place} is no sample: delete the file and sample again")
        if record["decoding"] == decoding:
            yield record
