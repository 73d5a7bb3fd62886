"""Make a dataset of sentences and their translations from a corpus, its splits disjoint by sentence."""

from sequencematch import script
from sequencematch.settings.data import OF_CORPUS, Source, Translation
from sequencematch.settings.options import add_settings, settings_from

READ = {"source", "languages", "train", "validation", "test", "seed"}


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Translation, READ)
    add_settings(parser, Source, OF_CORPUS)
    parser.add_argument("--output", type=script.output, required=True, help="dataset folder to write")
    args = parser.parse_args()
    data, source = settings_from(args, Translation, READ), settings_from(args, Source, OF_CORPUS)

    from sequencematch.data.pairs import columns, read_pairs
    from sequencematch.data.splits import make_splits
    from sequencematch.store.datasets import save

    splits, facts = make_splits(read_pairs(source, data), data, source, key=lambda pair: pair[0])
    settings = {"settings": data.model_dump(include={"family"} | READ), "source": source.model_dump(include=OF_CORPUS)}
    save({name: columns(pairs) for name, pairs in splits.items()}, args.output, settings | facts)


if __name__ == "__main__":
    script.run(main)
