"""Turn the GGUF file of a package into a model folder of transformers, in float32."""

from pathlib import Path

from sequencematch import script


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--files", type=Path, required=True, help="folder of unpacked files, one of them .gguf")
    parser.add_argument("--output", type=script.output, required=True, help="model folder to write")
    parser.add_argument("--bos", default="", help="token that texts begin with, where it is not the file's own")
    args = parser.parse_args()

    from sequencematch.model.gguf_file import convert
    from sequencematch.store.files import atomic_folder

    with atomic_folder(args.output) as folder:
        convert(args.files, folder, args.bos)


if __name__ == "__main__":
    script.run(main)
