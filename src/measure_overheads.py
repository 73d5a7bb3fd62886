"""Time what an overhead table shows, side by side, on random tokens.

The steps and generations of MLE, BC and SequenceMatch; or one part beside what it replaces.
"""

from pathlib import Path

from sequencematch import cli, provenance
from sequencematch.settings import MEASUREMENTS, Model, Overhead


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--part", choices=MEASUREMENTS, required=True, help="what to time")
    for section in (Overhead, Model):
        cli.add_settings(parser, section)
    parser.add_argument("--output", type=Path, required=True, help="folder to write, with every single number")
    cli.add_gpus_option(parser)
    args = parser.parse_args()
    model, settings = (cli.settings_from(args, section) for section in (Model, Overhead))
    settings.check_fits(model)

    from sequencematch.benchmarks import MEASURE
    from sequencematch.measurements import write_measured
    from sequencematch.processes import check_gpus

    check_gpus(args.gpus)
    write_measured(MEASURE[args.part](model, settings), args.output)
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
