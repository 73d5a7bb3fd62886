"""What the scripts of trials and measurements share: how answers are scored, and how what was measured is written."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from sequencematch.settings.families import FAMILIES
from sequencematch.store import provenance
from sequencematch.store.files import atomic_folder, write_json


def keep(output: Path, measured: dict, table: str, **facts) -> None:
    """Write measured.json, table.md and provenance.json (``facts``, and the code's) to a folder; print the table."""
    with atomic_folder(output) as folder:
        write_json(folder / "measured.json", measured)
        write_json(folder / "provenance.json", facts | provenance.describe())
        (folder / "table.md").write_text(table, encoding="utf-8")
    print(table)


def score(family: str, texts: Sequence[str], solutions: Sequence[str]) -> float:
    """BLEU of translations; otherwise the percentage of texts that equal their solution."""
    from sequencematch.results.bleu import translation_scores

    if FAMILIES[family].score == "bleu":
        return translation_scores(texts, solutions)["bleu"]
    return 100 * mean(text == solution for text, solution in zip(texts, solutions, strict=True))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± standard deviation, which is 0 for one value."""
    return f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"
