"""Generate a dataset of arithmetic questions, its splits disjoint by operands."""

from pathlib import Path

from sequencematch import cli
from sequencematch.settings import Data


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, Data)
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw questions (default: 1)")
    args = parser.parse_args()
    data = cli.settings_from(args, Data)

    from sequencematch import provenance
    from sequencematch.arithmetic import generate
    from sequencematch.storage import save

    splits = generate(data, max(1, args.workers))
    save(splits, args.output, {"settings": data.model_dump()} | provenance.describe())
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
