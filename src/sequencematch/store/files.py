"""Files and folders that are either there, whole, or not there."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """An empty sibling folder to fill; it becomes ``path``, whatever stood there, once the block ends well.

    Everything is synced to disk before the rename. A block that raises leaves ``path`` as it was; what a
    killed process leaves behind (``.<name>.partial``) is cleared by the next attempt.
    """
    path = Path(path)
    partial, replaced = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.replaced")
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for entry in [*partial.rglob("*"), partial]:
            _sync(entry)
        if path.exists():  # no portable call swaps two folders, so the old one steps aside for a moment
            path.rename(replaced)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
    _sync(path.parent)


def write_text_atomically(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path``, which holds the old content or the new, never a part."""
    write_atomically(path, text.encode())


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path``, which holds the old content or the new, never a part."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(content)
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


def write_json(path: Path | str, value) -> None:
    """Write ``value`` as indented JSON, atomically. NaN is refused (ValueError): it is no JSON."""
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path | str, records: Iterable[dict]) -> None:
    """Write one JSON object a line, atomically. In ASCII: text may hold characters that some readers end lines at."""
    write_text_atomically(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
