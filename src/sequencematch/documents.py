"""Corpora of documents."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from sequencematch.errors import UserError
from sequencematch.explain import unknown
from sequencematch.settings import Source
from sequencematch.sources import SPLITS, hub_rows, kind_of, read_json_lines, read_lines, text_at


def read_documents(source: Source) -> dict[str, Iterable[str]]:
    """The documents of each split that the source gives: lists, or iterators where they are fetched as they are read.

    Raises UserError where they cannot be had, naming the file and line where it is one.
    """
    if source.kind == "generated":
        return {"train": _generator(source)()}
    if source.kind == "hub":
        rows = hub_rows(source, streaming=True)
        return {split: _hub_documents(rows[split], source.name) for split in rows}
    files = {split: getattr(source, split) for split in SPLITS}
    return {split: list(_file_documents(named, source.separator)) for split, named in files.items() if named}


def _python_topics() -> list[str]:
    from sequencematch.python_topics import python_topics

    return python_topics()


# By name: all documents there are.
GENERATORS: dict[str, Callable[[], list[str]]] = {"python_topics": _python_topics}


def _generator(source: Source) -> Callable[[], list[str]]:
    if source.name not in GENERATORS:
        raise UserError(unknown(f"generator of documents '{source.name}'", source.name, GENERATORS))
    return GENERATORS[source.name]


def _hub_documents(rows: Iterable[dict], name: str) -> Iterator[str]:
    for number, row in enumerate(rows, start=1):
        text = text_at(row, "text", f"{name}, row {number}")
        if text.strip():
            yield text


def _file_documents(files: Sequence[str], separator: str) -> Iterator[str]:
    """The documents of all files; what holds no text is none."""
    readers = {".txt": lambda file: _parts(file, separator), ".jsonl": _json_documents}
    for file in files:
        if kind_of(file) not in readers:
            raise UserError(f"'{file}' holds no documents that can be read: name .txt or .jsonl files")
        yield from (text for text in readers[kind_of(file)](file) if text.strip())


def _parts(file: str, separator: str) -> Iterator[str]:
    """A plain text, cut before every line in which the separator is found; one document where there is no separator."""
    lines: list[str] = []
    for _, line in read_lines(file):
        if separator and lines and re.search(separator, line):
            yield "\n".join(lines)
            lines = []
        lines.append(line)
    yield "\n".join(lines)


def _json_documents(file: str) -> Iterator[str]:
    for number, row in read_json_lines(file):
        yield text_at(row, "text", f"{file}, line {number}")
