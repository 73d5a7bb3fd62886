"""Reading corpora: lines of local files, and data sets of the hub. What is wrong with them is one sentence."""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.settings.data import Source

SPLITS = ("train", "validation", "test")


def read_lines(file: Path | str) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of a UTF-8 file, gzip or not, without its end.

    Raises UserError where there is no such file, or naming the line that is no UTF-8.
    """
    path = Path(file)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield number, line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{path}, line {number}: byte {error.start + 1} is no UTF-8 (0x{line[error.start]:02x}): "
                        "convert the file to UTF-8"
                    ) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot read '{path}' ({error.strerror}): check the files of the source") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"'{path}' is no sound gzip file ({error}): get it again") from None


def read_json_lines(file: Path | str) -> Iterator[tuple[int, dict]]:
    """Number and object of each line of a JSON Lines file. Raises UserError naming the line that holds none."""
    for number, line in read_lines(file):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: no valid JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{file}, line {number}: no JSON object, but {line[:40]!r}")
        yield number, row


def kind_of(file: str) -> str:
    """What a file's name says it holds, .gz aside: ``.txt``, ``.tsv``, ``.jsonl`` ..."""
    return Path(file.removesuffix(".gz")).suffix


def text_at(row: dict, key: str, where: str) -> str:
    """The text under a key of a row, whose place ``where`` names. Raises UserError where there is none."""
    if not isinstance(row.get(key), str):
        found = "is missing" if key not in row else f"is {row[key]!r:.40}, not text"
        raise UserError(f"{where}: '{key}' {found} (there are: {', '.join(map(repr, row)) or 'none'})")
    return row[key]


def hub_rows(source: Source, streaming: bool) -> dict[str, Iterator[dict]]:
    """The rows of each split that a data set on the hub has, or one in a local folder of the same format.

    streaming: fetch rows as they are read, not the whole data set before. Raises UserError where it cannot be had.
    """
    import datasets

    local = Path(source.name).is_dir()
    which = (str(Path(source.name).resolve()) if local else source.name, source.configuration or None)
    options = {} if local else {"revision": source.revision}
    with _explained(source):
        found = datasets.get_dataset_split_names(*which, **options)
    if "train" not in found:
        raise UserError(f"'{source.name}' has no split 'train': name another data set or configuration")

    def rows(split: str) -> Iterator[dict]:
        with _explained(source):
            yield from datasets.load_dataset(*which, split=split, streaming=streaming, **options)

    return {split: rows(split) for split in SPLITS if split in found}


class _explained:
    """Turns the libraries' many errors into one sentence, in which no token or password stands."""

    def __init__(self, source: Source):
        self.source = source

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None or isinstance(error, (UserError, MemoryError)) or not isinstance(error, Exception):
            return
        reason = (str(error).strip().splitlines() or [kind.__name__])[0]
        secrets = [value for name, value in os.environ.items() if "TOKEN" in name and value]
        pattern = "|".join([r"hf_\w+", r"(?<=//)[^/\s]+@", *map(re.escape, secrets)])
        raise UserError(
            f"cannot read '{self.source.name}' from the hub ({re.sub(pattern, '...', reason)}): check its name, "
            "configuration and revision, your connection and access, or use a source of kind 'files' (your own copy) "
            "or 'generated'"
        ) from error
