"""Ask Snakemake for the graph of the rules behind the tables of a configuration (DOT)."""

import subprocess
import sys
from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--target", default="all", help="rule whose graph is wanted (default: all)")
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="changes to config.yaml")
    parser.add_argument("--output", type=script.output, required=True, help="graph to write (DOT)")
    args = parser.parse_args()
    # A process of its own, for the Snakemake that runs this job has plans of its own; it takes no lock.
    snakefile = Path(__file__).parents[1] / "Snakefile"
    words = ["--snakefile", str(snakefile), args.target, "--rulegraph", "dot", "--config", *args.config]
    done = subprocess.run([sys.executable, "-m", "snakemake", *words], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"Snakemake could not draw its rules: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    write_text_atomically(args.output, done.stdout)


if __name__ == "__main__":
    script.run(main)
