"""Corpora of sentences and their translations."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from sequencematch.data.sources import hub_rows, kind_of, read_json_lines, read_lines, text_at
from sequencematch.errors import UserError
from sequencematch.settings.data import Source, Translation
from sequencematch.settings.explain import unknown

Pair = tuple[str, str]
SEPARATOR = " Translation: "
# Kinds of files that hold rows, and no texts line by line.
ROWS = set(".tsv .jsonl .json .csv .ndjson .parquet .arrow .xml .xlsx .tmx".split())
# Words that a table's first line has instead of a sentence.
HEADER = set("source target src tgt trg sentence translation original text english french german spanish".split())


def columns(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    """Pairs as the columns of a split, in the form of the paper's ``{question} Solution: {solution}``."""
    pairs = list(pairs)
    return {"prompt": [sentence + SEPARATOR for sentence, _ in pairs], "completion": [other for _, other in pairs]}


def read_pairs(source: Source, data: Translation) -> dict[str, Iterable[Pair]]:
    """The pairs of each split of the source, endless ones as an iterator. Raises UserError with the file and line."""
    check_source(source, data)
    if source.kind == "generated":
        return {"train": GENERATORS[source.name](data.seed)}
    if source.kind == "hub":
        found: dict[str, Iterable[Pair]] = {}
        for split, rows in hub_rows(source, streaming=False).items():
            numbered = enumerate(rows, start=1)
            pairs = (_pair_of(row, data.languages, f"{source.name}, row {number}") for number, row in numbered)
            found[split] = [pair for pair in pairs if all(pair)]  # no empty sides
        return found
    return {split: list(_file_pairs(files, data.languages)) for split, files in source.files.items()}


def check_source(source: Source, data: Translation) -> None:
    """Raises UserError if a source cannot have pairs in these languages, as far as this is known before reading it."""
    if source.kind == "generated":
        if source.name not in GENERATORS:
            raise UserError(unknown(f"generator of pairs '{source.name}'", source.name, GENERATORS))
        if data.languages != ("en", "fr"):
            raise UserError(f"'{source.name}' generates pairs in en and fr, not in {' and '.join(data.languages)}")
    for files in source.files.values():
        if len(files) != 2 and not _hold_pairs(files):
            raise UserError(f"no pairs can be read from {', '.join(files)}: name two aligned texts, .tsv or .jsonl")
        if not _hold_pairs(files) and (rows := [file for file in files if kind_of(file) in ROWS]):
            raise UserError(f"{rows[0]} is not one side of a corpus: name two aligned texts, or .tsv or .jsonl alone")


def _phrases(seed: int) -> Iterator[Pair]:
    from sequencematch.data.phrases import phrases

    return phrases(seed)


# By name: endless distinct pairs in English and French, from a seed.
GENERATORS: dict[str, Callable[[int], Iterator[Pair]]] = {"phrases": _phrases}


def _file_pairs(files: Sequence[str], languages: Sequence[str]) -> Iterator[Pair]:
    if not _hold_pairs(files):
        return _aligned_pairs(*files)
    return itertools.chain.from_iterable(ONE_FILE[kind_of(file)](file, languages) for file in files)


def _hold_pairs(files: Sequence[str]) -> bool:
    """Whether each file holds pairs, and not one side of them."""
    return all(kind_of(file) in ONE_FILE for file in files)


def _aligned_pairs(first: str, second: str) -> Iterator[Pair]:
    for file in (first, second):
        if all("\t" in line for _, line in itertools.islice(read_lines(file), 3)):
            raise UserError(f"{file}, line 1: it has a tab: name a table of pairs .tsv, or remove the tabs")
    sides = [
        [_some_text(line, f"{file}, line {number}") for number, line in read_lines(file)] for file in (first, second)
    ]
    if len(sides[0]) != len(sides[1]):
        raise UserError(
            f"'{first}' has {len(sides[0])} lines and '{second}' {len(sides[1])}: line n must translate line n"
        )
    yield from zip(*sides, strict=True)


def _table_pairs(file: str, languages: Sequence[str]) -> Iterator[Pair]:
    for number, line in read_lines(file):
        cells = line.split("\t")
        if len(cells) != 2:
            raise UserError(f"{file}, line {number}: {len(cells)} columns where there must be 2, parted by one tab")
        if number == 1 and {cell.strip().casefold() for cell in cells} <= {*map(str.casefold, languages), *HEADER}:
            raise UserError(f"{file}, line 1: {line!r:.60} names the columns, and is no pair: delete that line")
        first, second = (_some_text(cell, f"{file}, line {number}") for cell in cells)
        yield first, second


def _json_pairs(file: str, languages: Sequence[str]) -> Iterator[Pair]:
    for number, row in read_json_lines(file):
        where = f"{file}, line {number}"
        first, second = (_some_text(text, where) for text in _pair_of(row, languages, where))
        yield first, second


ONE_FILE = {".tsv": _table_pairs, ".jsonl": _json_pairs}


def _pair_of(row: dict, languages: Sequence[str], where: str) -> Pair:
    """The two texts of a row, which it holds itself or in its ``translation``."""
    inner = row.get("translation")
    texts = inner if isinstance(inner, dict) else row
    first, second = (text_at(texts, language, where).strip() for language in languages)
    return first, second


def _some_text(text: str, where: str) -> str:
    if not text.strip():
        raise UserError(f"{where}: empty, but must be a sentence")
    return text.strip()
