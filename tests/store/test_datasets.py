"""Datasets on disk come back as they were written, or not at all; writes are whole or absent."""

import json
import struct
import subprocess
import sys

import datasets
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencematch.errors import UserError
from sequencematch.store.datasets import digest, load, save
from sequencematch.store.files import atomic_folder, write_json, write_text_atomically

SPLITS = {
    "train": {
        "question": ["1 + 1?", "2 + 2?", "3 + 3?"],
        "actions": [[1, 2], [], [3]],
        "imitated": [[True], [], [False]],
    },
    "test": {"question": ["4 + 4?"], "actions": [[4]], "imitated": [[True]]},
}


@pytest.fixture
def folder(tmp_path):
    save(SPLITS, tmp_path / "data", {"seed": 7})
    return tmp_path / "data"


def arrow_file(folder, split="train"):
    (file,) = (folder / split).glob("*.arrow")
    return file


def test_comes_back_as_written(folder):
    loaded, provenance = load(folder)
    assert {name: split.to_dict() for name, split in loaded.items()} == SPLITS
    assert list(loaded) == list(SPLITS)
    assert provenance["seed"] == 7
    assert provenance["counts"] == {"train": 3, "test": 1}
    assert not [p for p in folder.parent.iterdir() if p != folder]


def test_replaces_what_stood_there(folder):
    other = {"train": {"x": [1]}}
    save(other, folder, {})
    assert {name: split.to_dict() for name, split in load(folder)[0].items()} == other
    assert not [p for p in folder.parent.iterdir() if p != folder]


def test_missing(tmp_path):
    with pytest.raises(UserError, match="no dataset in"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("pattern", ["train/*.arrow", "dataset_dict.json", "test/state.json", "provenance.json"])
def test_missing_file(folder, pattern):
    (file,) = folder.glob(pattern)
    file.unlink()
    with pytest.raises(UserError, match=str(folder)):
        load(folder)


def test_edited_row(folder):
    file = arrow_file(folder)
    table = pa.ipc.open_stream(file.read_bytes()).read_all()
    edited = table.set_column(0, "question", pa.array(["1 + 1?", "2 + 5?", "3 + 3?"]))
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(edited.cast(table.schema))
    assert (
        datasets.load_from_disk(folder, keep_in_memory=True)["train"]["question"][1] == "2 + 5?"
    )  # sound Arrow, other content
    with pytest.raises(UserError, match="do not match the digest"):
        load(folder)


def test_provenance_without_a_digest(folder):
    (folder / "provenance.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        load(folder)


def dataset(columns: dict) -> datasets.DatasetDict:
    return datasets.DatasetDict({"train": datasets.Dataset.from_dict(columns)})


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 9)), min_size=2), st.data())
def test_digest_is_of_the_content_alone(rows, data):
    whole = dataset({"a": rows})
    cut = data.draw(st.integers(1, len(rows) - 1))
    parts = [whole["train"].select(range(cut)), whole["train"].select(range(cut, len(rows)))]
    assert digest(datasets.DatasetDict({"train": datasets.concatenate_datasets(parts)})) == digest(whole)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3)), min_size=1, max_size=4), st.lists(st.lists(st.integers(0, 3)), min_size=1))
def test_digest_tells_contents_apart(a, b):
    assert (digest(dataset({"a": a})) == digest(dataset({"a": b}))) == (a == b)
    assert digest(dataset({"a": a})) != digest(dataset({"b": a}))


def test_a_failed_write_leaves_the_old_folder(folder):
    before = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    with pytest.raises(RuntimeError), atomic_folder(folder) as partial:  # noqa: PT012 (the block fails half-way)
        (partial / "half").write_text("x")
        raise RuntimeError
    assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == before
    assert [p.name for p in folder.parent.iterdir()] == ["data"]
    load(folder)


def test_leftovers_of_a_killed_write_are_cleared(tmp_path):
    leftover, own = tmp_path / ".data.sequencematch.partial", [tmp_path / ".data.partial", tmp_path / ".data.replaced"]
    for folder in (leftover, *own):
        folder.mkdir()
        (folder / "stale").write_text("x")
    save(SPLITS, tmp_path / "data", {})
    save(SPLITS, tmp_path / "data", {})
    assert not (tmp_path / "data/stale").exists() and not leftover.exists()
    assert all((folder / "stale").exists() for folder in own)  # somebody's


def test_text_and_json(tmp_path):
    write_text_atomically(tmp_path / "deep/er/a.txt", "eins\n")
    write_text_atomically(tmp_path / "deep/er/a.txt", "zwei\n")
    write_json(tmp_path / "b.json", {"é": [1, None]})
    assert (tmp_path / "deep/er/a.txt").read_text() == "zwei\n"
    assert json.loads((tmp_path / "b.json").read_text()) == {"é": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert json.loads((tmp_path / "b.json").read_text()) == {"é": [1, None]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.json", "deep"]


def test_offsets_that_lead_outside_of_a_file_are_noticed(tmp_path):
    """Reading them would end the process, so another one reads them here."""
    save({"train": {"prompt": [list(range(12_345))]}}, tmp_path / "data", {})
    (file,) = (tmp_path / "data/train").glob("*.arrow")
    offsets = struct.pack("<ii", 0, 12_345)
    assert offsets in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(offsets, struct.pack("<ii", 0, 2**30)))
    read = f"from sequencematch.store.datasets import load; load({str(tmp_path / 'data')!r})"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True)
    assert done.returncode == 1 and "UserError" in done.stderr and "is damaged" in done.stderr
