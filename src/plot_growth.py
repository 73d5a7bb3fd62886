"""Draw what a gradient step costs against context length and batch, row by row, with the token floors."""

from pathlib import Path

from sequencematch import script
from sequencematch.results.figures import plot_growth
from sequencematch.results.measured import read_measured


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--measured", type=Path, required=True, help="folder that measure_overheads wrote, of growth")
    parser.add_argument("--output", type=script.output, required=True, help="figure to write (PNG)")
    args = parser.parse_args()
    plot_growth(read_measured(args.measured), "A gradient step over lengths and batches", args.output)


if __name__ == "__main__":
    script.run(main)
