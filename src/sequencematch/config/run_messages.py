"""What a run reports: at its start, which results it will replace; at its end, what it made."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

TO_READ = ("report.html", "tables/*.md", "tables/*.html", "overheads/*.md", "map/*.html", "map/*.md", "figures/*.png")


def replaced(jobs: Iterable, results: str) -> str:
    """A warning about the existing results that ``jobs`` of Snakemake will replace. Empty if there are none."""
    there = [path for job in jobs for path in job.output if Path(path).exists()]
    if not there:
        return ""
    count = "1 result" if len(there) == 1 else f"{len(there)} results"
    return (
        f"note: {count} in {results}/ will be replaced, among them {there[0]}; to keep them, give this run a name "
        "of its own: make NAME=try1 CONFIG=...\n"
    )


def made(results: Path, start: float, end: float) -> str:
    """The tables and pages under ``results`` that a run wrote from ``start`` to ``end`` (seconds), and its time."""
    files = sorted({file for pattern in TO_READ for file in results.glob(pattern) if file.stat().st_mtime >= start})
    seconds = round(end - start)
    time = f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"
    if not files:
        return f"Done in {time}."
    return "\n".join([f"Made in {time}:", *(f"  {file}" for file in files), *_agreement(results, files)])


def _agreement(results: Path, made: Iterable[Path]) -> list[str]:
    """Whether new tables agree with the kept ones of the same scale, where some are kept."""
    kept = results.parent / "reference" / results.name
    if not (kept / "provenance.json").is_file() or not any((kept / f"{file.stem}.csv").is_file() for file in made):
        return []
    # In a process of its own, which imports torch for the digest of bits.
    script = Path(__file__).parents[3] / "workflow/compare_results.py"
    command = [sys.executable, str(script), str(results), str(kept), "--brief"]
    done = subprocess.run(command, capture_output=True, text=True)
    return [*done.stdout.splitlines(), "(make compare lists them)"] if done.returncode == 0 else []
