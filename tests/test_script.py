"""What scripts share: errors as one sentence."""

import errno
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata

import pytest
from support.workflow import ROOT

from sequencematch import script
from sequencematch.errors import UserError


def fails_with(error):
    def main():
        raise error

    return main


def test_a_programming_error_keeps_its_traceback():
    with pytest.raises(FileNotFoundError):
        script.run(fails_with(FileNotFoundError(errno.ENOENT, "gone")))
    with pytest.raises(RuntimeError, match="shape"):
        script.run(fails_with(RuntimeError("shape [3, 4]")))


def ended(main):
    with pytest.raises(SystemExit) as caught:
        script.run(main)
    return caught.value.code


@pytest.mark.parametrize("number", sorted({*script.REFUSED, errno.ENOMEM}))
def test_what_the_machine_refuses_is_one_sentence_whoever_says_it(number):
    """The operating system, the Rust libraries, and libraries that raise errors of their own from those."""

    def wrapped():
        try:
            raise OSError(number, os.strerror(number), "results/x")
        except OSError as error:
            raise RuntimeError("the library failed") from error

    in_words = Exception(f"Error while serializing: I/O error: (os error {number})")
    for main in (fails_with(OSError(number, os.strerror(number), "results/x")), fails_with(in_words), wrapped):
        assert ended(main).startswith("error: ") and "\n" not in ended(main)
    assert ended(wrapped) == ended(fails_with(OSError(number, os.strerror(number), "results/x")))
    if number == errno.ENOSPC:
        assert ended(wrapped) == "error: writing 'results/x' failed, the disk is full; fix that and run this again"


def too_much():
    import numpy

    return numpy.ones(2**50)


def too_much_for_torch():
    import torch

    return torch.empty(2**60)


@pytest.mark.parametrize("main", [too_much, too_much_for_torch, fails_with(MemoryError())])
def test_used_up_memory_is_one_sentence(main):
    assert ended(main).startswith("error: the memory is used up: use smaller batches")


def test_no_folder_for_temporary_files_is_one_sentence(monkeypatch, tmp_path):
    """Python looks for one in TMPDIR first, then in others: none of them exists here, or can be written."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "nowhere")])
    message = ended(tempfile.mkdtemp)
    assert message.startswith("error: No usable temporary directory") and "set TMPDIR to a folder" in message


@pytest.fixture
def small_files():
    """A limit of 4000 bytes on files: what exceeds it fails as on a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, handler)


def test_room_for_five_bytes_is_not_enough_for_temporary_files(small_files, monkeypatch, tmp_path):
    """Snakemake's solver writes more, and would end with a traceback."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(UserError, match=f"writing .*{tmp_path.name}.* failed, the file is larger"):
        script.check_temporary()


def test_a_full_disk_inside_safetensors(small_files, tmp_path):
    """The library raises an error of its own."""
    from safetensors.torch import save_file
    from torch import zeros

    words = ended(lambda: save_file({"a": zeros(1000)}, tmp_path / "lm.safetensors"))
    assert words == "error: writing the results failed, the file is larger than the limit; fix that and run this again"


@pytest.mark.parametrize(
    "left",
    [
        {"WORLD_SIZE": "2", "RANK": "1"},
        {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
        {"RANK": "3"},
        {"LOCAL_RANK": "1"},
        {"WORLD_SIZE": "two"},
        {"WORLD_SIZE": "0"},
        {"RANK": ""},
    ],
)
def test_variables_left_by_another_launch_are_named(monkeypatch, left):
    """Believed, they would make this process wait for others for ever, or write nothing without a word."""
    for name in (*script.PROCESS_VARIABLES, script.LAUNCHED, "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert script.processes() == (0, 1)
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(script.time, "sleep", lambda seconds: pytest.fail("nobody else will speak"))
    assert ended(script.processes).startswith("error: the environment says that this is one of several processes (")
    assert ended(fails_with(UserError("why"))) == "error: why"  # sys.exit prints it and exits with 1


def test_nobody_reads_on(tmp_path):
    """As in ``sequencematch ... | head -1``."""
    file = tmp_path / "talk.py"
    file.write_text("from sequencematch import script\nscript.run(lambda: print('word ' * 10**6))\n")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(file))} | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("w", "")


@pytest.mark.parametrize(
    ("module", "extra"),
    [("peft", "qlora"), ("matplotlib.pyplot", "report"), ("datasets", "pipeline"), ("gguf", "pretrained")],
)
def test_a_package_of_an_extra_that_is_missing_is_named_with_the_extra(module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        SystemExit, match=rf"^error: this needs the package '\w+': pip install 'sequencematch\[{extra}\]'"
    ):
        script.run(lambda: __import__(module))


def test_each_module_of_an_extra_is_declared_there():
    providers = metadata.packages_distributions()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for module, extra in script.EXTRAS.items():
        declared = {re.match(r"[\w-]+", words)[0].lower() for words in extras[extra]}
        assert {name.lower().replace("_", "-") for name in providers[module]} & declared, module


@pytest.mark.slow
@pytest.mark.parametrize(("given", "threads"), [({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)])
def test_a_script_run_by_hand_takes_one_thread_unless_told_otherwise(given, threads):
    """With threads on all cores, 20 steps of a small model took 28 s on a busy machine, not 1.8 s."""
    words = "import sys; from sequencematch import script\n"
    words += "def main():\n    import torch\n    print(torch.get_num_threads())\nscript.run(main)"
    without = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, env=without | given)
    assert done.stdout == f"{threads}\n", done.stderr


@pytest.mark.parametrize(
    ("kind", "text"), [(int, "1_2"), (int, " 3"), (float, "0.1_5"), (int, "\N{FULLWIDTH DIGIT ONE}")]
)
def test_numbers_of_options_are_as_people_write_them(kind, text, capsys):
    parser = script.parser("x")
    parser.add_argument("--n", type=kind)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--n={text}"])
    assert f"invalid {kind.__name__} value" in capsys.readouterr().err
    assert parser.parse_args(["--n", "12"]).n == 12
