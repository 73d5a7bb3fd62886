"""Make a dataset of documents from a corpus, its splits disjoint."""

from sequencematch import script
from sequencematch.settings.data import OF_CORPUS, Source, Text
from sequencematch.settings.options import add_settings, settings_from

READ = {"source", "train", "validation", "test", "seed"}


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Text, READ)
    add_settings(parser, Source, OF_CORPUS)
    parser.add_argument("--output", type=script.output, required=True, help="dataset folder to write")
    args = parser.parse_args()
    data, source = settings_from(args, Text, READ), settings_from(args, Source, OF_CORPUS)

    from sequencematch.data.documents import read_documents
    from sequencematch.data.splits import make_splits
    from sequencematch.store.datasets import save

    splits, facts = make_splits(read_documents(source), data, source, key=lambda document: document)
    settings = {"settings": data.model_dump(include={"family"} | READ), "source": source.model_dump(include=OF_CORPUS)}
    save({name: {"text": texts} for name, texts in splits.items()}, args.output, settings | facts)


if __name__ == "__main__":
    script.run(main)
