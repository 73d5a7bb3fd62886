"""Draw a table's measures against the noise level, by method, with 95% intervals and the paper's numbers."""

from pathlib import Path

from sequencematch import script
from sequencematch.report.noise_levels import plot_noise_levels, read_cells
from sequencematch.store import provenance


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="CSV that make_table wrote")
    parser.add_argument("--output", type=Path, required=True, help="figure to write (SVG)")
    args = parser.parse_args()
    plot_noise_levels(read_cells(args.table), args.output)
    provenance.record(args, args.output)


if __name__ == "__main__":
    script.run(main)
