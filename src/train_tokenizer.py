"""Make the tokenizer: of the training split's words, digits and characters, or a pretrained model's own."""

from pathlib import Path

from sequencematch import cli


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--output", type=Path, required=True, help="tokenizer folder to write")
    parser.add_argument("--source", help="take the tokenizer of this model (hub name or path) instead")
    args = parser.parse_args()

    from sequencematch import provenance
    from sequencematch.files import atomic_folder
    from sequencematch.storage import load
    from sequencematch.tokenizer import pretrained_tokenizer, train_tokenizer

    if args.source:
        tokenizer = pretrained_tokenizer(args.source)
    else:
        train = load(args.data)[0]["train"]
        tokenizer = train_tokenizer([*train["prompt"], *train["completion"]])
    with atomic_folder(args.output) as folder:
        tokenizer.save(folder)
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
