"""Reading corpora: lines of local files, and data sets of the hub. Every problem is reported in one sentence."""

import codecs
import gzip
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sequencematch.errors import UserError
from sequencematch.settings.data import Source
from sequencematch.store.files import Unpacked, check_regular, open_file, reason

SPLITS = ("train", "validation", "test")
BOM = "\ufeff"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LONGEST_LINE = 2**28  # bytes


def read_lines(file: Path | str) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of a UTF-8 file, gzip or not, without its end and byte order mark.

    Raises UserError if there is no such file, and for a line that is not UTF-8 text, with its number. Reading always
    ends: devices, pipes, lines of more than ``LONGEST_LINE`` bytes and archives that grow too far (``Unpacked``) are
    refused.
    """
    path = Path(file)
    with open_file(path, "check the files of the source") as raw:
        try:
            packed = path.suffix.lower() == ".gz"
            stream = io.BufferedReader(Unpacked(path, gzip.open(raw))) if packed else raw  # noqa: SIM115 (raw is closed)
            yield from _texts(path, stream)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"'{path}' is not a valid gzip file ({error}): get it again") from None


def _texts(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, str]]:
    for number in itertools.count(1):
        line = stream.readline(LONGEST_LINE + 1)
        if not line:
            return
        where = f"{path}, line {number}"
        if len(line) > LONGEST_LINE:
            raise UserError(f"{where}: it has more than {LONGEST_LINE:,} bytes, so this is not a text file")
        if number == 1 and b"\r" in line.rstrip(b"\r\n") and not line.endswith(b"\n"):
            raise UserError(f"'{path}' ends lines by a carriage return alone (CR): convert them, by tr '\\r' '\\n' say")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{where}: byte {error.start + 1} is not UTF-8 (0x{line[error.start]:02x}): "
                f"convert the file to UTF-8{' from UTF-16' if line.startswith(UTF_16) else ''}"
            ) from None
        if "\0" in text:
            raise UserError(f"{where}: a zero byte, so this is not UTF-8 text: convert the file to UTF-8")
        yield number, text.removeprefix(BOM).rstrip("\r\n")


def read_json_lines(file: Path | str) -> Iterator[tuple[int, dict]]:
    """Number and object of each line of a JSON Lines file. Raises UserError naming the line that holds none."""
    for number, line in read_lines(file):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file}, line {number}: not valid JSON ({reason(error)})") from None
        if not isinstance(row, dict):
            raise UserError(f"{file}, line {number}: not a JSON object, but {line[:40]!r}")
        yield number, row


def kind_of(file: str) -> str:
    """The kind of a file by its name without .gz, in lower case: ``.txt``, ``.tsv``, ``.jsonl`` ..."""
    return Path(file.lower().removesuffix(".gz")).suffix


def text_at(row: dict, key: str, where: str) -> str:
    """The text under a key, without a byte order mark. Raises UserError where there is none, or half a character."""
    text = row.get(key)
    if not isinstance(text, str):
        found = "is missing" if key not in row else f"is {text!r:.40}, not text"
        raise UserError(f"{where}: '{key}' {found} (there are: {', '.join(map(repr, row)) or 'none'})")
    if half := re.search("[\ud800-\udfff]", text):
        raise UserError(f"{where}: '{key}' has half a character at {half.start() + 1} ({half[0]!r}): repair the text")
    return text.removeprefix(BOM)


def hub_rows(source: Source, streaming: bool) -> dict[str, Iterator[dict]]:
    """The rows of each split of a data set on the hub, or in a local folder of the same format.

    streaming: fetch rows as they are read, not all at the start. Raises UserError if the data set cannot be read.
    """
    import datasets

    local = Path(source.name).is_dir()
    if local:
        check_regular(source.name)
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


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Turn the libraries' many errors into one sentence without tokens or passwords."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        secrets = [value for name, value in os.environ.items() if "TOKEN" in name and value]
        pattern = "|".join([r"hf_\w+", r"(?<=//)[^/\s]+@", *map(re.escape, secrets)])
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot read '{source.name}' from the hub ({re.sub(pattern, '...', said)}): check its name, configuration "
            "and revision, your connection and access, or use a source of kind 'files' or 'generated'"
        ) from error
