"""Turn a dataset's rows into examples of token ids: a prompt, and the completion that is right after it."""

import sys
from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.settings.data import DATA, OF_EXAMPLES
from sequencematch.settings.model import Model
from sequencematch.settings.options import add_settings, settings_from


def main() -> None:
    parser = script.parser(__doc__)
    for section in DATA.values():
        add_settings(parser, section, OF_EXAMPLES)
    add_settings(parser, Model, {"context"})
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    parser.add_argument("--output", type=script.output, required=True, help="folder of examples to write")
    args = parser.parse_args()
    for section in DATA.values():
        settings_from(args, section, ())  # wrong values are named before anything is read
    model = settings_from(args, Model, ())

    from sequencematch.data.encoding import encode_split
    from sequencematch.data.examples import columns
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.store.datasets import load, save

    data, source = load(args.data)
    tokenizer = load_tokenizer(args.tokenizer)
    family = source.get("settings", {}).get("family")
    if family not in DATA:
        raise UserError(f"'{args.data}' holds no questions, pairs or documents: give a folder of a dataset")
    settings = settings_from(args, DATA[family], OF_EXAMPLES)
    context = model.context if model.model_fields_set else tokenizer.context  # a pretrained model's tokenizer knows it
    splits, left_out, altered = {}, {}, {}
    for name, split in data.items():
        examples, left_out[name], changed = encode_split(name, split.to_list(), tokenizer, settings, context)
        splits[name] = columns(examples)
        print(f"{name}: {len(examples)} examples of {len(split)} rows, {left_out[name]} left out", file=sys.stderr)
        if changed:
            row, (text, decoded) = next(iter(changed.items()))
            altered[name] = {"rows": len(changed), "first": {"row": row, "text": text, "decoded": decoded}}
            print(
                f"{name}: the tokenizer changes {len(changed)} rows; row {row}: {text!r} becomes {decoded!r}",
                file=sys.stderr,
            )
    facts = {
        "family": family,
        "settings": settings.model_dump(include=OF_EXAMPLES),
        # The language that is written; none of questions and of text.
        "language": source["settings"].get("languages", [None])[-1],
        "left_out": left_out,
        "altered": altered,
        "data_digest": source["digest"],
    }
    save(splits, args.output, facts)


if __name__ == "__main__":
    script.run(main)
