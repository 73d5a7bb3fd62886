"""Make a dataset of documents from a corpus, its splits disjoint."""

from pathlib import Path

from sequencematch import cli
from sequencematch.settings import Source, Text

READ = {"source", "train", "validation", "test", "seed"}


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, Text, READ)
    cli.add_settings(parser, Source, prefix="source_")
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    args = parser.parse_args()
    data, source = cli.settings_from(args, Text), cli.settings_from(args, Source, prefix="source_")

    from sequencematch import provenance
    from sequencematch.documents import read_documents
    from sequencematch.splits import make_splits
    from sequencematch.storage import save

    splits, facts = make_splits(read_documents(source), data, source, key=lambda document: document)
    settings = {"settings": data.model_dump(include={"family"} | READ), "source": source.model_dump()}
    save(
        {name: {"text": texts} for name, texts in splits.items()}, args.output, settings | facts | provenance.describe()
    )
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
