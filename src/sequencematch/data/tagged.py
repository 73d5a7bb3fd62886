"""Plain text from corpora whose words are tagged with their parts of speech (``jury/nn``), such as the Brown corpus."""

import re
from collections.abc import Iterator
from pathlib import Path

from sequencematch.data.sources import read_lines
from sequencematch.errors import UserError

QUOTES = {"``": "\N{LEFT DOUBLE QUOTATION MARK}", "''": "\N{RIGHT DOUBLE QUOTATION MARK}"}
# Spaces that separate words from marks in the corpus, and not in print.
BEFORE = re.compile("\\s+([.,;:?!)%\N{RIGHT DOUBLE QUOTATION MARK}])")
AFTER = re.compile("([(\N{LEFT DOUBLE QUOTATION MARK}])\\s+")


def extract_documents(folder: Path) -> list[str]:
    """The documents below ``folder``, one a file, by name. Raises UserError if none is there or a word has no tag."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise UserError(f"'{folder}' holds no documents: correct the source's inside")
    return [" ".join(sentences(file)) for file in files]


def sentences(file: Path) -> Iterator[str]:
    """The sentences of a file, one a line, as in print."""
    for number, line in read_lines(file):
        words = []
        for tagged in line.split():
            word, slash, _ = tagged.rpartition("/")
            if not slash:
                raise UserError(f"{file}, line {number}: {tagged!r:.40} has no tag (as in word/nn)")
            words.append(QUOTES.get(word, word))
        if words:
            text = AFTER.sub(r"\1", BEFORE.sub(r"\1", " ".join(words)))
            yield re.sub(r"\.\.$", ".", text)  # a sentence that ends in an abbreviation
