"""Time what an overhead table shows, on random tokens.

Either the steps and generations of MLE, BC and SequenceMatch, or one part and what it replaces.
"""

from sequencematch import script
from sequencematch.settings.model import Model
from sequencematch.settings.options import add_settings, settings_from
from sequencematch.settings.overheads import MEASUREMENTS, Overhead


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--part", choices=MEASUREMENTS, required=True, help="what to time")
    for section in (Overhead, Model):
        add_settings(parser, section)
    parser.add_argument("--output", type=script.output, required=True, help="folder to write, with every single number")
    script.add_device_options(parser)
    args = parser.parse_args()
    model, settings = settings_from(args, Model), settings_from(args, Overhead)
    settings.check_fits(model)

    from sequencematch.model.processes import prepare_devices
    from sequencematch.overheads.measure import measure
    from sequencematch.results.measured import write_measured

    prepare_devices(args.gpus)
    write_measured(measure(args.part, model, settings), args.output)


if __name__ == "__main__":
    script.run(main)
