"""Generate a dataset of arithmetic questions, its splits disjoint by operands."""

import os

from sequencematch import script
from sequencematch.settings.data import Arithmetic
from sequencematch.settings.options import add_settings, settings_from


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Arithmetic)
    parser.add_argument("--output", type=script.output, required=True, help="dataset folder to write")
    args = parser.parse_args()
    data = settings_from(args, Arithmetic)

    from sequencematch.data.arithmetic import generate
    from sequencematch.store.datasets import save

    workers = int(os.environ.get("OMP_NUM_THREADS", 1))  # processes that draw questions; they change no question
    splits = generate(data, workers)
    save(splits, args.output, {"settings": data.model_dump()})


if __name__ == "__main__":
    script.run(main)
