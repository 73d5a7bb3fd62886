"""Generate a dataset of arithmetic questions, its splits disjoint by operands."""

import os
from pathlib import Path

from sequencematch import cli
from sequencematch.settings import Arithmetic


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, Arithmetic)
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    args = parser.parse_args()
    data = cli.settings_from(args, Arithmetic)

    from sequencematch import provenance
    from sequencematch.arithmetic import generate
    from sequencematch.storage import save

    workers = int(os.environ.get("OMP_NUM_THREADS", 1))  # processes that draw questions; they change no question
    splits = generate(data, workers)
    save(splits, args.output, {"settings": data.model_dump()} | provenance.describe())
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
