"""Make the tokenizer: of a pretrained model, or of the training split.

That of generated questions knows their words, digits and characters, that of a corpus frequent strings of bytes.
"""

from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.settings.data import DATA, OF_TOKENIZER, Language
from sequencematch.settings.model import Model
from sequencematch.settings.options import add_settings, settings_from

PRETRAINED = ("source", "revision", "trust_remote_code")  # the settings that say which pretrained model


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Language, OF_TOKENIZER)
    add_settings(parser, Model, PRETRAINED)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--output", type=script.output, required=True, help="tokenizer folder to write")
    args = parser.parse_args()
    settings_from(args, Language, ())  # a wrong value is named before anything is read
    model = settings_from(args, Model, {"source"})
    if model.source != "scratch":
        model = settings_from(args, Model, PRETRAINED)

    from sequencematch.data.tokenizer import pretrained_tokenizer, train_byte_tokenizer, train_tokenizer
    from sequencematch.store.datasets import load
    from sequencematch.store.files import atomic_folder

    if model.source != "scratch":
        tokenizer = pretrained_tokenizer(model.source, model.revision, model.trust_remote_code)
    else:
        data, source = load(args.data)
        family = source.get("settings", {}).get("family")
        if family not in DATA or "train" not in data:
            raise UserError(f"'{args.data}' holds no questions, pairs or documents: give a folder of a dataset")
        train = data["train"]
        texts = [text for name in ("prompt", "completion", "text") if name in train.features for text in train[name]]
        if issubclass(DATA[family], Language):
            tokenizer = train_byte_tokenizer(texts, settings_from(args, Language, OF_TOKENIZER).vocabulary)
        else:
            tokenizer = train_tokenizer(texts)
    with atomic_folder(args.output) as folder:
        tokenizer.save(folder)


if __name__ == "__main__":
    script.run(main)
