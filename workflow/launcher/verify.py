"""Check every result of a scale against its record: ``verify.py --config scale=SCALE ...``.

The digests of its files are computed again. A result is damaged if they differ from the record, or if the record is
missing. A result is outdated if Snakemake would make it again with the present code and configuration. The exit status
is 1 if anything is damaged.
"""

import sys
from collections import Counter
from pathlib import Path

from plan import planned, real_jobs
from rich.console import Console
from rich.table import Table

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store.files import read_record, record_of
from sequencematch.store.provenance import file_digests

STATES = ("present", "outdated", "damaged", "missing")


def main() -> None:
    with planned(["all", *sys.argv[1:]]) as workflow:
        jobs = [(job.rule.name, workflow.dag.needrun(job), list(job.output)) for job in real_jobs(workflow)]
        reference = Path("results/reference", workflow.globals["SCALE"])
    counts: dict[str, Counter[str]] = {}
    commits: dict[str, set[str]] = {}
    damage = []
    for rule, outdated, files in jobs:
        for path in map(Path, files):
            words, commit = inspect(path, outdated)
            damage += [words] if words else []
            state = "missing" if not path.exists() else "damaged" if words else STATES[outdated]
            counts.setdefault(rule, Counter())[state] += 1
            commits.setdefault(rule, set()).update([commit] if commit else [])
    table = Table("rule", *STATES, "made by commit", title="results")
    for rule, numbers in sorted(counts.items()):
        table.add_row(rule, *(str(numbers[state]) for state in STATES), ", ".join(sorted(commits[rule])))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print("".join(f"damaged: {words}\n" for words in damage), end="")
    total = sum(counts.values(), Counter())
    print(
        f"Of {total.total()} results, {total['present']} are from the present code and configuration, "
        f"{total['outdated']} from other code or settings, {total['damaged']} damaged, {total['missing']} not made yet."
    )
    if (reference / "provenance.json").is_file():
        from sequencematch.training.bits import rounding  # imports torch

        print(rounding(reference) or "(kept without a digest of bits)")
    if damage:
        raise UserError("delete what is damaged and run make again")


def inspect(path: Path, outdated: bool) -> tuple[str, str]:
    """What is wrong with the files of a result, in words, and the commit that made it, with a + where files differed.

    The first is empty if nothing is wrong, the second if the result is damaged, missing, or without a record.
    """
    if not path.exists():
        return "", ""
    try:
        record = read_record(path)
    except UserError as error:
        earlier = outdated and not record_of(path).exists()  # earlier code left no records
        return "" if earlier else str(error), ""
    recorded, found = record["sha256"], file_digests(path)
    if wrong := sorted(name for name in recorded | found if recorded.get(name) != found.get(name)):
        return f"'{path}' is not what was written: {', '.join(wrong)}", ""
    return "", record["commit"][:12] + ("+" if record["uncommitted_changes"] else "")


if __name__ == "__main__":
    script.run(main)
