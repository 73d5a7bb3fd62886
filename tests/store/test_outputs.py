"""A result goes to a new path, or over an unchanged earlier result of the same script; nothing else is touched."""

import argparse
import os
import socket
import sys

import pytest
from support.experiment import parser_of, run
from support.workflow import ROOT

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store import provenance
from sequencematch.store.files import atomic_folder, write_text_atomically

SCRIPTS = sorted((ROOT / "src").glob("*.py"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "src/score.py")])
    return tmp_path


def made(path, name="score.py"):
    """A result of a script, with its record."""
    if path.suffix:
        write_text_atomically(path, "ours")
    else:
        with atomic_folder(path) as partial:
            (partial / "a").write_text("ours")
    sys.argv = [str(ROOT / "src" / name)]
    provenance.record(argparse.Namespace(), path)
    sys.argv = [str(ROOT / "src/score.py")]


def state(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in folder.rglob("*")
    }


THEIRS = {
    "a file": lambda path: path.write_text("theirs"),
    "an empty file": lambda path: path.touch(),
    "a folder": lambda path: (path.mkdir(), (path / "theirs").write_text("theirs")),
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.parent / "elsewhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "a result of another script": lambda path: made(path, "judge.py"),
    "a changed result": lambda path: (made(path), path.write_text("theirs")),
    "a result and a file": lambda path: (made(path.with_suffix("")), (path.with_suffix("") / "my").write_text("x")),
    "a result and a hidden file": lambda path: (made(path.with_suffix("")), (path.with_suffix("") / ".x").touch()),
    "a result and a link": lambda path: (made(path.with_suffix("")), (path.with_suffix("") / "x").symlink_to("/tmp")),
    "a result and a pipe": lambda path: (made(path.with_suffix("")), os.mkfifo(path.with_suffix("") / "x")),
    "a record that is none": lambda path: provenance.record_of(path).write_text('{"mine": 1}'),
    "a record that is a link": lambda path: provenance.record_of(path).symlink_to("/dev/zero"),
    "a file for a folder": lambda path: path.parent.joinpath("x.json/y").parent.write_text("theirs"),
}


@pytest.mark.parametrize("kind", THEIRS)
def test_what_is_there_stays(folder, kind):
    THEIRS[kind](folder / "x.json")
    before = state(folder)
    target = folder / "x.json/y" if kind == "a file for a folder" else folder / "x.json"
    target = folder / "x" if (folder / "x").exists() else target
    with pytest.raises(UserError) as caught:
        script.output(str(target))
    assert state(folder) == before and "\n" not in str(caught.value) and str(target)[:-1] in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "/", "/proc/x", "a\0b", "a\udc80", "n" * 300, "/dev/null/x"])
def test_what_is_no_path_is_one_sentence(folder, monkeypatch, text):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError):
        script.output(text)
    assert not any(folder.iterdir())


def test_a_device_is_never_replaced(folder, monkeypatch):
    """Whoever writes, the superuser too; only the answer of the file system is that of a device here."""
    (folder / "null").write_text("device")
    device = os.stat_result((0o020666, *(folder / "null").lstat()[1:]))
    monkeypatch.setattr("pathlib.Path.lstat", lambda path: device)
    with pytest.raises(UserError, match="a device"):
        script.output(str(folder / "null"))
    with pytest.raises(UserError, match="a device"):
        write_text_atomically(folder / "null", "x")
    with pytest.raises(UserError, match="a device"), atomic_folder(folder / "null"):
        pass
    assert (folder / "null").read_text() == "device"


@pytest.mark.parametrize("name", ["new.json", "deep/er/new", "empty", "own.json", "own", "gone.json"])
def test_a_new_path_and_an_own_result_are_written(folder, name):
    (folder / "empty").mkdir()
    made(folder / "own.json")
    made(folder / "own")
    (folder / "own/.snakemake_timestamp").touch()
    made(folder / "gone.json", "judge.py")
    (folder / "gone.json").unlink()  # by Snakemake, before the job
    assert script.output(str(folder / name)) == folder / name


def test_no_file_beside_a_result_is_touched(folder):
    for name in ("x", "x.json"):
        for role in ("partial", "replaced"):
            (folder / f".{name}.{role}").write_text("theirs")
    for _ in range(2):
        made(folder / "x")
        made(folder / "x.json")
    assert [file.read_text() for file in folder.glob(".x*")] == ["theirs"] * 4


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_every_script_asks_for_its_outputs_so(file):
    """All options that name something to write, found by what their help says."""
    actions = [action for action in parser_of(file)._actions if " to write" in (action.help or "")]
    assert actions and all(action.type is script.output for action in actions)


def test_a_script_says_so_before_it_works(tmp_path):
    (tmp_path / "mine").write_text("theirs")
    done = run("convert_model", files=tmp_path, output=tmp_path / "mine", check=False)
    assert done.stderr.startswith(f"error: '{tmp_path}/mine' is there, and no record says")
    assert done.stderr.count("\n") == 1
    assert state(tmp_path) == {"mine": b"theirs"}
