"""Datasets on disk: Arrow folders (``datasets.DatasetDict``) with a provenance.json that has their digest."""

import hashlib
import json
from pathlib import Path

import datasets

from sequencematch.errors import UserError
from sequencematch.store.files import atomic_folder, check_regular, reason, write_json
from sequencematch.store.provenance import describe
from sequencematch.store.provenance_schema import FILE as PROVENANCE
from sequencematch.store.provenance_schema import read_facts

datasets.disable_progress_bars()


def save(splits: dict[str, dict[str, list]], folder: Path | str, facts: dict) -> None:
    """Write splits (name -> column -> values) as a ``DatasetDict``, atomically, replacing an earlier one.

    provenance.json holds ``facts``, those of any result, ``counts`` (rows of each split) and ``digest`` (of the rows).
    """
    dataset = datasets.DatasetDict({name: datasets.Dataset.from_dict(columns) for name, columns in splits.items()})
    counts = {name: len(split) for name, split in dataset.items()}
    with atomic_folder(folder) as partial:
        dataset.save_to_disk(partial)
        write_json(partial / PROVENANCE, facts | describe() | {"counts": counts, "digest": digest(dataset)})


def load(folder: Path | str) -> tuple[datasets.DatasetDict, dict]:
    """The dataset in ``folder`` and its provenance. The rows are compared with the digest there.

    Raises UserError if the folder is missing, incomplete or damaged, or if its rows were edited.
    """
    folder = Path(folder)
    if not (folder / PROVENANCE).is_file():
        raise UserError(f"no dataset in '{folder}' ({PROVENANCE} is missing): run the step that makes it")
    try:
        check_regular(folder)
        provenance = read_facts(folder, "delete the folder and run again", "digest")
        dataset = datasets.load_from_disk(folder, keep_in_memory=True)
        for split in dataset.values():
            split.data.table.validate(full=True)  # reading offsets that lead outside of their buffer ends the process
        found = digest(dataset)
    except UserError:
        raise
    except Exception as error:  # the library raises whatever it meets in a damaged file
        raise UserError(f"the dataset in '{folder}' is damaged ({reason(error)}): delete it and run again") from error
    if found != provenance["digest"]:
        raise UserError(f"the rows in '{folder}' do not match the digest in its {PROVENANCE}: delete it and run again")
    return dataset, provenance


def digest(dataset: datasets.DatasetDict) -> str:
    """SHA-256 of the rows. Equal content has an equal digest, whatever its layout in Arrow files."""
    content = hashlib.sha256()
    for name in sorted(dataset):
        table = dataset[name].data.table
        for column in sorted(table.column_names):
            content.update(json.dumps([name, column, table.column(column).to_pylist()]).encode())
    return content.hexdigest()
