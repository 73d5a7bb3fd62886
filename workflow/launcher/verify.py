"""Check every result of a scale against its record: ``verify.py --config scale=SCALE ...``.

The digests of its files are computed again. A result is damaged if they differ from the record, or if the record is
missing. A result is outdated if Snakemake would make it again with the present code and configuration. The exit status
is 1 if anything is damaged.
"""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from run import check_settings

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store.files import read_record, record_of
from sequencematch.store.provenance import file_digests


@dataclass(frozen=True)
class Result:
    """An output of the workflow: the rule that makes it, and whether that rule would run again."""

    path: Path
    rule: str
    outdated: bool

    def damage(self) -> str:
        """What is wrong with its files, in words. Empty if nothing is."""
        try:
            recorded = read_record(self.path)["sha256"]
        except UserError as error:
            earlier = self.outdated and not record_of(self.path).exists()  # earlier code left no records
            return "" if earlier else str(error)
        found = file_digests(self.path)
        wrong = sorted(name for name in recorded | found if recorded.get(name) != found.get(name))
        return f"'{self.path}' is not what was written: {', '.join(wrong)}" if wrong else ""

    def commit(self) -> str:
        """The commit that made it, with a + where files differed from that commit."""
        try:
            record = read_record(self.path)
        except UserError:
            return "unknown"
        return record["commit"][:12] + ("+" if record["uncommitted_changes"] else "")


def main() -> None:
    results = outputs(sys.argv[1:])
    there = [result for result in results if result.path.exists()]
    damage = {result: words for result in there if (words := result.damage())}
    table = Table(title="results")
    for column in ("rule", "present", "outdated", "damaged", "missing", "made by commit"):
        table.add_column(column, justify="left" if column in ("rule", "made by commit") else "right")
    counts = Counter((result.rule, state(result, damage)) for result in results)
    for rule in sorted({result.rule for result in results}):
        commits = sorted({r.commit() for r in there if r.rule == rule and r not in damage})
        numbers = (str(counts[rule, name]) for name in ("present", "outdated", "damaged", "missing"))
        table.add_row(rule, *numbers, ", ".join(commits))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for words in damage.values():
        print(f"damaged: {words}")
    total = Counter(state(result, damage) for result in results)
    print(
        f"Of {len(results)} results, {total['present']} are from the present code and configuration, "
        f"{total['outdated']} from other code or settings, {total['damaged']} damaged, {total['missing']} not made yet."
    )
    scale = next((word.removeprefix("scale=") for word in sys.argv if word.startswith("scale=")), "default")
    reference = Path("results/reference", scale)
    if (reference / "provenance.json").is_file():
        from sequencematch.training.bits import rounding  # imports torch

        print(rounding(reference) or "(kept without a digest of bits)")
    if damage:
        raise UserError("delete what is damaged and run make again")


def state(result: Result, damage: dict[Result, str]) -> str:
    """A result's state in one word: missing, damaged, outdated or present."""
    if not result.path.exists():
        return "missing"
    if result in damage:
        return "damaged"
    return "outdated" if result.outdated else "present"


def outputs(words: list[str]) -> list[Result]:
    """All outputs of the plan. Raises UserError if Snakemake cannot make a plan."""
    check_settings(words)
    command = [sys.executable, "-m", "snakemake", "--summary", "--nolock", "all", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    header, *lines = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line] or [[]]
    if done.returncode or "output_file" not in header:
        said = re.sub(r"^Using .*profile.*\n", "", done.stderr) or done.stdout
        raise UserError(f"Snakemake has no plan: {said.strip().removeprefix('error: ')}")
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return [Result(Path(row["output_file"]), row["rule"], row["plan"] != "no update") for row in rows]


if __name__ == "__main__":
    script.run(main)
