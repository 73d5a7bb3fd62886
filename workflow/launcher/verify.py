"""Check every result of a scale against its record: ``verify.py --config scale=SCALE ...``.

The digests of its files are computed again. A result is damaged if they differ from the record, or if the record is
missing. A result is outdated if Snakemake would make it again with the present code and configuration; ``make why``
says why. The exit status is 1 if anything is damaged.
"""

import sys
from collections import Counter
from pathlib import Path

from plan import planned, real_jobs

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store.files import read_record, record_of
from sequencematch.store.provenance import file_digests


def main() -> None:
    with planned(["all", *sys.argv[1:]]) as workflow:
        results = [(Path(file), workflow.dag.needrun(job)) for job in real_jobs(workflow) for file in job.output]
        reference = Path("results/reference", workflow.globals["SCALE"])
    counts: Counter[str] = Counter()
    for path, outdated in results:
        damage = what_is_wrong(path, outdated) if path.exists() else ""
        counts["missing" if not path.exists() else "damaged" if damage else "outdated" if outdated else "present"] += 1
        if damage:
            print(f"damaged: {damage}")
    print(
        f"Of {len(results)} results, {counts['present']} are from the present code and configuration, "
        f"{counts['outdated']} from other code or settings, {counts['damaged']} damaged, {counts['missing']} not made."
    )
    if (reference / "provenance.json").is_file():
        from sequencematch.training.bits import rounding  # imports torch

        print(rounding(reference) or "(kept without a digest of bits)")
    if counts["damaged"]:
        raise UserError("delete what is damaged and run make again")


def what_is_wrong(path: Path, outdated: bool) -> str:
    """What is wrong with the files of a result, in words; empty if nothing is."""
    try:
        recorded, found = read_record(path)["sha256"], file_digests(path)
    except UserError as error:
        earlier = outdated and not record_of(path).exists()  # earlier code left no records
        return "" if earlier else str(error)
    wrong = sorted(name for name in recorded | found if recorded.get(name) != found.get(name))
    return f"'{path}' is not what was written: {', '.join(wrong)}" if wrong else ""


if __name__ == "__main__":
    script.run(main)
