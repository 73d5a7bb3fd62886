"""Jobs forked from a process with warm imports behave as if they had been started."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support.workflow import is_running, wait_for

SHIM = Path(__file__).parents[2] / "workflow/launcher/warm/python"
SCRIPT = """
import json, os, sys
facts = {"argv": sys.argv, "folder": os.getcwd(), "value": os.environ.get("VALUE")}
print(json.dumps(facts | {"warm": "transformers" in sys.modules, "here": __import__("beside").NAME}))
print("to stderr", file=sys.stderr)
if sys.argv[1:] == ["wait"]:
    open("pid", "w").write(str(os.getpid()))
    __import__("time").sleep(60)
if sys.argv[1:]:
    sys.exit(sys.argv[1] if not sys.argv[1].isdigit() else int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder with a script, and the environment of a run whose server is up."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / ".snakemake").mkdir()
    (folder / "scripts").mkdir()
    (folder / "scripts" / "beside.py").write_text("NAME = 'beside'\n")
    (folder / "scripts" / "script.py").write_text(SCRIPT)
    owner = subprocess.Popen(["sleep", "600"])
    environment = os.environ | {"SEQUENCEMATCH_RUN_PID": str(owner.pid), "SEQUENCEMATCH_PYTHON": sys.executable}
    wait_for(lambda: '"warm": true' in job(folder, environment).stdout, 120)  # the first ones start cold
    yield folder, environment
    owner.kill()
    owner.wait()


def job(folder, environment, *arguments):
    command = [SHIM, "scripts/script.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_job_has_its_own_arguments_environment_folder_output_and_status(warm):
    folder, environment = warm
    done = job(folder, environment | {"VALUE": "seven"})
    assert done.returncode == 0 and done.stderr == "to stderr\n"
    assert f'"folder": "{folder}"' in done.stdout and '"value": "seven"' in done.stdout
    assert '"argv": ["scripts/script.py"]' in done.stdout and '"here": "beside"' in done.stdout
    assert job(folder, environment, "3").returncode == 3
    failed = job(folder, environment, "error: a sentence")
    assert (failed.returncode, failed.stderr) == (1, "to stderr\nerror: a sentence\n")
    missing = subprocess.run([SHIM, "absent.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert missing.returncode == 1 and "absent.py" in missing.stderr


@pytest.mark.slow
def test_a_killed_job_leaves_no_process_behind(warm):
    folder, environment = warm
    client = subprocess.Popen(
        [SHIM, "scripts/script.py", "wait"], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
    worker = psutil.Process(int((folder / "pid").read_text()))
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_for(lambda: not is_running(worker))


@pytest.mark.slow
def test_nobody_else_can_reach_the_server(warm):
    """Its one socket is a file in a folder of mode 0700: no abstract name that any local user could connect to."""
    folder, environment = warm
    place = folder / ".snakemake/warm"
    (name,) = place.glob("*.socket")
    assert name.is_socket() and place.stat().st_mode & 0o777 == 0o700 and place.stat().st_uid == os.getuid()
    abstract = f"@sequencematch-{environment['SEQUENCEMATCH_RUN_PID']}"
    assert abstract not in Path("/proc/net/unix").read_text()
    if os.geteuid() == 0:  # to root all users can be played
        child = os.fork()
        if not child:
            os.setuid(65534)
            try:
                socket.socket(socket.AF_UNIX).connect(str(name))
            except PermissionError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_server_of_somebody_else_gets_nothing(tmp_path):
    """Whoever could bind the name first would receive the jobs' environment: an open folder is not used, nor a link."""
    (tmp_path / "script.py").write_text("print('it ran')")
    for make_open in (lambda path: path.mkdir(mode=0o777), lambda path: path.symlink_to(tmp_path / "elsewhere")):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        state = tmp_path / f"run-{make_open.__code__.co_firstlineno}-{len(list(tmp_path.iterdir()))}"
        (state / ".snakemake").mkdir(parents=True)
        make_open(state / ".snakemake/warm")
        (state / ".snakemake/warm").resolve().chmod(0o777)
        environment = os.environ | {"SEQUENCEMATCH_RUN_PID": "1", "SEQUENCEMATCH_PYTHON": sys.executable}
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(state / ".snakemake/warm/1.socket"))
        listener.listen()
        listener.settimeout(0)
        done = subprocess.run([SHIM, "../script.py"], cwd=state, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "it ran\n"), done.stderr
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert not (state / ".snakemake/warm_start.lock").exists()  # and no server was started
        listener.close()


@pytest.mark.slow
def test_no_secret_of_the_shell_goes_through_the_server(warm):
    folder, environment = warm
    (folder / "scripts/show.py").write_text("import os; print(sorted(n for n in os.environ if n.endswith('_TOKEN')))")
    secrets = {"GITHUB_TOKEN": "a", "HF_TOKEN": "b"}
    words = [SHIM, "scripts/show.py"]
    done = subprocess.run(words, cwd=folder, env=environment | secrets, capture_output=True, text=True)
    assert done.stdout == "['HF_TOKEN']\n"  # a gated model is loaded with it
