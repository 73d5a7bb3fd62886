"""Whatever a file holds, reading it gives its content or one sentence, and a changed file is noticed."""

import argparse
import json
import os
import sys

import pytest

from sequencematch.errors import UserError
from sequencematch.store import provenance
from sequencematch.store.files import check_digest, read_bytes, read_csv, read_json, read_json_lines, write_json

SPOILT = {
    "deep": b'{"a": ' + b"[" * 10**6,
    "nan": b'{"a": NaN}',
    "infinite": b'{"a": -Infinity}',
    "too large a number": b'{"a": 1e999}',
    "too many digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a number that is no float": b'{"a": ' + b"9" * 400 + b"}",
    "half a character": b'{"a": "\\ud800"}',
    "not UTF-8": b'{"a": "\xff"}',
    "a list": b"[]",
    "a null byte": b"\0",
    "empty": b"",
    "cut off": b'{"a": ',
}


@pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT)
def test_json_that_is_none_is_one_sentence(tmp_path, content):
    file = tmp_path / "facts.json"
    file.write_bytes(content)
    for read in (read_json, lambda path: list(read_json_lines(path)) or read_json(path)):
        with pytest.raises(UserError) as caught:
            read(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
        assert str(caught.value).endswith("delete it and run the step that makes it")


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1\n", b"a,b\n1,2,3\n", b'a,b\n1,"2', b"a,b\r1,2\rx\n", b"a,b\n1," + b"2" * 200_000, b"a,b\n\xff,1\n"],
    ids=["too short a row", "too long a row", "an open quote", "carriage returns", "a huge field", "not UTF-8"],
)
def test_csv_that_is_none_is_one_sentence(tmp_path, content):
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_csv(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_csv_is_read_as_it_was_written(tmp_path):
    (tmp_path / "table.csv").write_text('a,b\n1,"x, y"\n,\n')
    assert read_csv(tmp_path / "table.csv") == [{"a": "1", "b": "x, y"}, {"a": "", "b": ""}]


def fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    "make", [fifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path), None]
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, make):
    """A FIFO without a writer would be waited for, a device read for ever."""
    if make:
        make(tmp_path / "x")
    with pytest.raises(UserError, match=str(tmp_path / "x")):
        read_bytes(tmp_path / "x")


def test_no_more_than_allowed_is_read(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)  # a sparse file
    with pytest.raises(UserError, match="larger than the 1,000 bytes"):
        read_bytes(tmp_path / "large", most=1000)


@pytest.fixture
def result(tmp_path, monkeypatch):
    """A folder and a file of results, with their records."""
    monkeypatch.setattr(sys, "argv", [str(provenance.__file__)])
    folder, file = tmp_path / "model", tmp_path / "samples.jsonl"
    (folder / "train").mkdir(parents=True)
    for path in (folder / "policy.json", folder / "train" / "data.json", file):
        write_json(path, {"n": 1})
    provenance.record(argparse.Namespace(), folder, file)
    return tmp_path


@pytest.mark.parametrize("name", ["model/policy.json", "model/train/data.json", "samples.jsonl"])
@pytest.mark.parametrize("read", [read_json, read_bytes, check_digest])
def test_a_changed_file_is_refused_wherever_it_is_read(result, monkeypatch, name, read):
    """One bit is enough; the path may be relative, and a record that cannot be read vouches for nothing."""
    file = result / name
    read(file)
    monkeypatch.chdir(file.parent)
    file.write_text(json.dumps({"n": 3}))
    for path in (file, file.name):
        with pytest.raises(UserError, match="was changed after it was written"):
            read(path)
    for record in result.glob("*.provenance.json"):
        record.write_text("{}")
    with pytest.raises(UserError, match="states no sha256"):
        read(file)
    for record in result.glob("*.provenance.json"):
        record.unlink()
    read(file)  # a file of somebody else's, without a record
