"""Draw appendix B's motivating example: three divergences between a chain and a model that leaks, exactly."""

from sequencematch import script
from sequencematch.results.run_figures import plot_motivating_example


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--output", type=script.output, required=True, help="figure to write (PNG)")
    plot_motivating_example(parser.parse_args().output)


if __name__ == "__main__":
    script.run(main)
