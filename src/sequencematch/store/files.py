"""Reading and writing files: atomically, and compared with the digests recorded when they were written.

The record of a result ``<name>`` is the file ``<name>.provenance.json`` next to it (``provenance.record``), with the
SHA-256 of its files. Every function here that reads a file compares the two. A file without a record is not compared.
"""

import contextlib
import csv
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sequencematch.errors import UserError

RECORD = ".provenance.json"
LARGEST = 2**30  # bytes of a file that is read into memory at once
WHOLE = {".json", ".jinja", ".txt", ".model", ".py", ".yaml"}  # files of models that libraries read at once
RECORD_DEPTH = 3  # folders between a file and the result that it belongs to
RERUN = "run the step that makes it"
# How far a compressed file may grow: this many times its size, plus SMALL. Text is compressed to about a third, a file
# made to fill the memory to a thousandth.
LARGEST_RATIO = 50
SMALL = 2**26  # bytes
LONGEST_NUMBER = 200  # digits of a whole number in JSON; one of 309 is no float


def check_place(text: str | Path) -> None:
    """Raises UserError if nothing can be written at a path: it is no name, its folder is closed, or a link is there."""
    path, other = Path(os.path.abspath(text)), "name another path"
    if (
        not str(text).strip()
        or not path.name
        or "\0" in str(text)
        or os.fsencode(path).decode("utf-8", "ignore") != str(path)
    ):
        raise UserError(f"{str(text)!a} is no name of a file or folder: {other}")
    try:
        parent = next(folder for folder in path.parents if os.path.lexists(folder))
        with contextlib.suppress(FileNotFoundError):
            os.stat(_aside(path, "replaced"))  # the longest name that will be used
        with tempfile.TemporaryFile(dir=parent):
            pass
    except (OSError, ValueError) as error:
        raise UserError(f"'{text}' cannot be written ({reason(error)}): {other}") from None
    _check_replaceable(path)


def _check_replaceable(path: Path) -> None:
    """Raises UserError where a path is a link, a device, a pipe or a socket."""
    if os.path.lexists(path) and stat.S_IFMT(path.lstat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        raise UserError(f"'{path}' is a link, a device or a pipe, which is never replaced: name another path")


def _aside(path: Path, role: str) -> Path:
    """Where we keep a result while it is written, next to its path; no file of anybody else has such a name."""
    return path.with_name(f".{path.name}.sequencematch.{role}")


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """An empty folder to fill. When the block ends without an error, it replaces the folder ``path``.

    Everything is synced to disk before the rename. If the block raises, ``path`` is unchanged. A killed process leaves
    its partial folder behind, which the next attempt removes.
    """
    path = Path(path)
    partial, replaced = _aside(path, "partial"), _aside(path, "replaced")
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for entry in [*partial.rglob("*"), partial]:
            _sync(entry)
        _check_replaceable(path)
        if path.exists():  # no portable call swaps two folders, so the old one steps aside for a moment
            if not path.is_dir():
                raise UserError(f"'{path}' is a file, and a folder is written: name another path")
            path.rename(replaced)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
    _sync(path.parent)


def write_text_atomically(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path``, which always holds either the old or the new content."""
    write_atomically(path, text.encode())


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path``, which always holds either the old or the new content."""
    path = Path(path)
    partial = _aside(path, "partial")
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:  # never through a link
            file.write(content)
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


def write_json(path: Path | str, value) -> None:
    """Write ``value`` as indented JSON, atomically. Raises ValueError for NaN, which JSON does not have."""
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path | str, records: Iterable[dict]) -> None:
    """Write one JSON object a line, atomically, in ASCII: some other characters are line ends for some readers."""
    write_text_atomically(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records))


@contextmanager
def open_file(path: Path | str, remedy: str = RERUN) -> Iterator[io.BufferedReader]:
    """A file, opened for reading. Raises UserError where it cannot be read, or might never end (a FIFO, a device)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UserError(f"'{path}' is not there: {remedy}") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise UserError(f"cannot read '{path}' ({reason(error)}): check its path and permissions") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"'{path}' is not a regular file: delete it and {remedy}")
    with os.fdopen(descriptor, "rb") as file:
        try:
            yield file
        except OSError as error:
            raise UserError(f"cannot read '{path}' ({reason(error)}): delete it and {remedy}") from error


class Unpacked(io.RawIOBase):
    """What the compressed file ``path`` unpacks to, as ``stream`` reads it. Raises UserError where it grows too far."""

    def __init__(self, path: Path, stream: gzip.GzipFile):
        self.path, self.stream, self.unpacked = path, stream, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer) -> int:
        """Fill some of the buffer; the number of bytes, 0 at the end."""
        content = self.stream.read(len(buffer))
        self.unpacked += len(content)
        if self.unpacked > LARGEST_RATIO * self.path.stat().st_size + SMALL:
            raise UserError(
                f"'{self.path}' grows to more than {LARGEST_RATIO} times its size when it is decompressed, which no "
                "text does: decompress it yourself if you trust it"
            )
        buffer[: len(content)] = content
        return len(content)


def read_bytes(path: Path | str, remedy: str = RERUN, most: int = LARGEST) -> bytes:
    """The content of a regular file of at most ``most`` bytes, which agrees with its record.

    Raises UserError, ending in ``remedy``, where the file is missing, unreadable, too large or changed.
    """
    content = _content(path, remedy, most)
    _compare(Path(path), hashlib.sha256(content).hexdigest())
    return content


def read_text(path: Path | str, remedy: str = RERUN, most: int = LARGEST) -> str:
    """The text of a UTF-8 file, read as ``read_bytes`` does."""
    content = read_bytes(path, remedy, most)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not text (byte {error.start + 1} is not UTF-8): delete it and {remedy}") from None


def read_json(path: Path | str, remedy: str = RERUN, most: int = LARGEST) -> dict:
    """The JSON object in a file, read as ``read_bytes`` does. NaN and infinity are refused: they are no JSON."""
    return parse_object(read_text(path, remedy, most), f"'{path}'", remedy)


def read_json_lines(path: Path | str, remedy: str = RERUN, most: int = LARGEST) -> Iterator[tuple[str, dict]]:
    """The place (``line 3 of 'x.jsonl'``) and the JSON object of each line of a file, read as ``read_bytes`` does."""
    for number, line in enumerate(read_text(path, remedy, most).splitlines(), start=1):
        place = f"line {number} of '{path}'"
        yield place, parse_object(line, place, remedy)


def read_csv(path: Path | str, remedy: str = RERUN, delimiter: str = ",") -> list[dict[str, str]]:
    """The lines of a CSV file with a header, each with a field for every column, read as ``read_bytes`` does."""
    text = read_text(path, remedy)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(f"'{path}' is no valid CSV ({error}): delete it and {remedy}") from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise UserError(f"row {number} of '{path}' has not one field per column: delete it and {remedy}")
    return rows


def check_regular(folder: Path | str) -> None:
    """Raises UserError where a library would read without end: at a FIFO, or a text of more than ``LARGEST`` bytes."""
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() and not path.is_dir():
            raise UserError(f"'{path}' is not a regular file: delete it")
        if path.suffix in WHOLE and path.stat().st_size > LARGEST:
            raise UserError(f"'{path}' is larger than the {LARGEST:,} bytes allowed: get the folder again")


def parse_object(text: str, place: str, remedy: str = RERUN) -> dict:
    """The JSON object that ``text`` is. Raises UserError, beginning with ``place``, where it is none."""
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_short)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half a character (a lone surrogate) could not be written
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{place} is no valid JSON ({reason(error)}): delete it and {remedy}") from None
    if not isinstance(value, dict):
        raise UserError(f"{place} holds no JSON object: delete it and {remedy}")
    return value


def reason(error: BaseException) -> str:
    """The first line of what an error says, for use inside a sentence."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _short(number: str) -> int:
    if len(number) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(number)} digits")
    return int(number)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a finite number")
    return value


def _content(path: Path | str, remedy: str, most: int) -> bytes:
    with open_file(path, remedy) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UserError(f"'{path}' is larger than the {most:,} bytes allowed: delete it and {remedy}")
        content = file.read(size + 1)
    if len(content) != size:
        raise UserError(f"'{path}' changed while it was read: try again when nothing writes to it")
    return content


def record_of(output: Path) -> Path:
    """The path of a result's record."""
    return output.with_name(output.name + RECORD)


def read_record(output: Path) -> dict:
    """The record of a result. Raises UserError if it is missing or cannot be read."""
    file = record_of(output)
    content = parse_object(_content(file, RERUN, LARGEST).decode("utf-8", "replace"), f"'{file}'")
    kinds = {"sha256": dict, "commit": str, "uncommitted_changes": bool}
    wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
    if wrong or not all(isinstance(digest, str) for digest in content["sha256"].values()):
        raise UserError(f"'{file}' states no {', '.join(wrong) or 'digests'}: delete it and '{output}', and run again")
    return content


def sha256(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_digest(file: Path | str) -> None:
    """Raises UserError if a file differs from its record. For files that a library reads by itself."""
    with open_file(file) as stream:
        _compare(Path(file), hashlib.file_digest(stream, "sha256").hexdigest())


def _compare(file: Path, digest: str) -> None:
    """Compare a digest with the record of the result that the file is, or is part of. No record, no comparison."""
    path = Path(os.path.abspath(file))
    for result in [path, *path.parents[:RECORD_DEPTH]]:
        if result.name and record_of(result).exists():
            name = path.relative_to(result).as_posix() if result != path else path.name
            recorded = read_record(result)["sha256"].get(name, digest)
            if recorded != digest:
                raise UserError(
                    f"'{file}' was changed after it was written (its SHA-256 is not the one in "
                    f"{record_of(result).name}): delete '{os.path.relpath(result)}' and run again"
                )
            return


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
