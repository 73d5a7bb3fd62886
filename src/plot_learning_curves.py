"""Draw how a task's runs were learned: losses, r, V and backspaces over gradient steps, from their metrics.csv."""

from pathlib import Path

from sequencematch import script
from sequencematch.results.run_figures import plot_learning_curves, read_curve
from sequencematch.results.runs import read_runs


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of the runs")
    parser.add_argument("--base", type=Path, nargs="*", default=[], help="folders of the base models they start from")
    parser.add_argument("--output", type=script.output, required=True, help="figure to write (SVG)")
    args = parser.parse_args()
    curves = [*map(read_curve, args.base), *(read_curve(run.model, run.variant) for run in read_runs(args.metrics))]
    plot_learning_curves(curves, args.output)


if __name__ == "__main__":
    script.run(main)
