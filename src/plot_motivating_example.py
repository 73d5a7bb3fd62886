"""Draw appendix B's motivating example: three divergences between a chain and a model that leaks, exactly."""

from sequencematch import script
from sequencematch.errors import UserError


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument(
        "--lengths",
        type=int,
        nargs="+",
        default=[10, 100, 1000],
        help="lengths n of the chain (default: 10 100 1000)",
    )
    parser.add_argument(
        "--leaks",
        type=float,
        nargs="+",
        default=[0.001, 0.01, 0.1],
        help="leaks per step (default: 0.001 0.01 0.1)",
    )
    parser.add_argument("--output", type=script.output, required=True, help="figure to write (PNG)")
    args = parser.parse_args()
    if any(n < 1 for n in args.lengths):
        raise UserError(f"--lengths {min(args.lengths)} is no length of a chain: give whole numbers from 1 up")
    if not all(0 < eps < 1 for eps in args.leaks):
        raise UserError("--leaks must lie strictly between 0 and 1: a model that never leaks has no divergence to show")

    from sequencematch.results.run_figures import plot_motivating_example

    plot_motivating_example(args.lengths, args.leaks, args.output)


if __name__ == "__main__":
    script.run(main)
