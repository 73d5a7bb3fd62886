"""Make aligned sentences of pages that have the same structure in two languages.

What is left out (pages of another structure, untranslated texts) is counted in the log.
"""

import sys
from pathlib import Path

from sequencematch import script


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--files", type=Path, required=True, help="folder of unpacked files")
    parser.add_argument("--output", type=script.output, required=True, help="table of pairs to write (.tsv)")
    parser.add_argument(
        "--pages", nargs=2, required=True, metavar="PATTERN", help="those of the first and second language"
    )
    args = parser.parse_args()

    from sequencematch.data.markup import extract_pairs
    from sequencematch.store.files import write_text_atomically

    pairs, left_out = extract_pairs(args.files, args.pages)
    write_text_atomically(args.output, "".join(f"{first}\t{second}\n" for first, second in pairs))
    counts = ", ".join(f"{count} {what}" for what, count in left_out.items())
    print(f"{len(pairs)} pairs; left out: {counts}", file=sys.stderr)


if __name__ == "__main__":
    script.run(main)
