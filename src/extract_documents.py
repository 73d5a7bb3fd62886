"""Make documents of plain text from files whose words are tagged with their parts of speech (the Brown corpus)."""

import sys
from pathlib import Path

from sequencematch import script


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--files", type=Path, required=True, help="folder of unpacked files, a document each")
    parser.add_argument("--output", type=script.output, required=True, help="documents to write (.jsonl)")
    args = parser.parse_args()

    from sequencematch.data.tagged import extract_documents
    from sequencematch.store.files import write_json_lines

    documents = extract_documents(args.files)
    write_json_lines(args.output, ({"text": document} for document in documents))
    print(f"{len(documents)} documents", file=sys.stderr)


if __name__ == "__main__":
    script.run(main)
