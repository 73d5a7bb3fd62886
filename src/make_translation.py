"""Make a dataset of sentences and their translations from a corpus, its splits disjoint by sentence."""

from pathlib import Path

from sequencematch import cli
from sequencematch.settings import Source, Translation

READ = {"source", "languages", "train", "validation", "test", "seed"}


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, Translation, READ)
    cli.add_settings(parser, Source, prefix="source_")
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    args = parser.parse_args()
    data, source = cli.settings_from(args, Translation), cli.settings_from(args, Source, prefix="source_")

    from sequencematch import provenance
    from sequencematch.pairs import columns, read_pairs
    from sequencematch.splits import make_splits
    from sequencematch.storage import save

    splits, facts = make_splits(read_pairs(source, data), data, source, key=lambda pair: pair[0])
    settings = {"settings": data.model_dump(include={"family"} | READ), "source": source.model_dump()}
    save(
        {name: columns(pairs) for name, pairs in splits.items()}, args.output, settings | facts | provenance.describe()
    )
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
