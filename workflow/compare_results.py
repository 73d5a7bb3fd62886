"""Does a run agree with the kept one? ``compare_results.py RESULTS REFERENCE [--brief]``, the folders of a scale.

Prints how many estimates lie in the kept run's prediction intervals, which do not, which verdicts changed, and whether
this CPU rounds as the one that made the kept tables. The exit status is 0 either way.
"""

import sys
from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.results.agreement import agreement


def main() -> None:
    if len(sys.argv) < 3:
        raise UserError("name the folders of the results and of the kept ones: make compare SCALE=default")
    results, reference = map(Path, sys.argv[1:3])
    if not (reference / "provenance.json").is_file():
        raise UserError(f"no results of '{reference.name}' are kept: compare a scale in results/reference")
    for line in agreement(results, reference):
        if "--brief" not in sys.argv or not line.startswith("  outside"):
            print(line)

    from sequencematch.training.bits import rounding  # imports torch

    if said := rounding(reference):
        print(said)


if __name__ == "__main__":
    script.run(main)
