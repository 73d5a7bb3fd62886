"""Make the tokenizer: of the training split's words, digits and characters, or a pretrained model's own."""

from pathlib import Path

from sequencematch import cli
from sequencematch.settings import Model


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--output", type=Path, required=True, help="tokenizer folder to write")
    cli.add_settings(parser, Model, only=("source", "revision", "trust_remote_code"))
    args = parser.parse_args()

    from sequencematch.files import atomic_folder
    from sequencematch.storage import load
    from sequencematch.tokenizer import pretrained_tokenizer, train_tokenizer

    if args.source != "scratch":
        tokenizer = pretrained_tokenizer(args.source, args.revision, args.trust_remote_code)
    else:
        train = load(args.data)[0]["train"]
        tokenizer = train_tokenizer([*train["prompt"], *train["completion"]])
    with atomic_folder(args.output) as folder:
        tokenizer.save(folder)


if __name__ == "__main__":
    cli.run(main)
