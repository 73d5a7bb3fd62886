"""Corpora of documents."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from sequencematch.data.python_topics import python_topics
from sequencematch.data.sources import hub_rows, kind_of, read_json_lines, read_lines, text_at
from sequencematch.errors import UserError
from sequencematch.settings.data import Source
from sequencematch.settings.explain import unknown


def read_documents(source: Source) -> dict[str, Iterable[str]]:
    """The documents of each split of a source, iterators if streamed. Raises UserError with the file and line."""
    check_source(source)
    if source.kind == "generated":
        return {"train": GENERATORS[source.name]()}
    if source.kind == "hub":
        rows = hub_rows(source, streaming=True)
        return {split: _texts(enumerate(rows[split], start=1), f"{source.name}, row") for split in rows}
    return {split: list(_file_documents(files, source.separator)) for split, files in source.files.items()}


def check_source(source: Source) -> None:
    """Raises UserError if a source cannot have documents, as far as this is known before reading it."""
    if source.kind == "generated" and source.name not in GENERATORS:
        raise UserError(unknown(f"generator of documents '{source.name}'", source.name, GENERATORS))
    for file in [file for files in source.files.values() for file in files]:
        if kind_of(file) not in (".txt", ".jsonl"):
            raise UserError(f"no documents can be read from {file}: name .txt or .jsonl files")


# By name: all documents there are.
GENERATORS: dict[str, Callable[[], list[str]]] = {"python_topics": python_topics}


def _texts(rows: Iterable[tuple[int, dict]], where: str) -> Iterator[str]:
    """The texts of numbered rows ``{"text": text}``. Those without text are left out."""
    found = (text_at(row, "text", f"{where} {number}") for number, row in rows)
    return filter(str.strip, found)


def _file_documents(files: Sequence[str], separator: str) -> Iterator[str]:
    """The documents of all files. Those without text are left out."""
    for file in files:
        if kind_of(file) == ".jsonl":
            yield from _texts(read_json_lines(file), f"{file}, line")
        else:
            yield from filter(str.strip, _parts(file, separator))


def _parts(file: str, separator: str) -> Iterator[str]:
    """A plain text, cut before every line in which the separator is found. Without a separator, it is one document."""
    lines: list[str] = []
    for _, line in read_lines(file):
        if separator and lines and re.search(separator, line):
            yield "\n".join(lines)
            lines = []
        lines.append(line)
    yield "\n".join(lines)
