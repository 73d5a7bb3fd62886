"""How trials write what they measured."""

from pathlib import Path

from sequencematch.store import provenance
from sequencematch.store.files import atomic_folder, write_json


def keep(output: Path, measured: dict, table: str, **facts) -> None:
    """Write measured.json, table.md and provenance.json (``facts``, and the code's) to a folder; print the table."""
    with atomic_folder(output) as folder:
        write_json(folder / "measured.json", measured)
        write_json(folder / "provenance.json", facts | provenance.describe())
        (folder / "table.md").write_text(table, encoding="utf-8")
    print(table)
