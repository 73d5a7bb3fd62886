"""Time one part beside what it replaces: growth of a step, masking, projection, sampling, concurrent rollouts."""

from pathlib import Path

from sequencematch import cli, provenance
from sequencematch.settings import Model, Overhead

PARTS = ("growth", "masking", "projection", "sampling", "concurrent")


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmark", choices=PARTS, required=True, help="what to time")
    for section in (Overhead, Model):
        cli.add_settings(parser, section)
    parser.add_argument("--output", type=Path, required=True, help="folder to write, with every single number")
    cli.add_gpus_option(parser)
    args = parser.parse_args()
    model, settings = (cli.settings_from(args, section) for section in (Model, Overhead))
    settings.check_fits(model)

    from sequencematch.benchmarks import BENCHMARKS
    from sequencematch.measurements import write_measured
    from sequencematch.processes import check_gpus

    check_gpus(args.gpus)
    write_measured(BENCHMARKS[args.benchmark](model, settings), args.output)
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
