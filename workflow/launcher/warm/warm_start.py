"""Runs a script in a process that has its heavy imports behind it: ``warm_start.py SCRIPT ARGUMENT ...``.

A run on one machine starts more than a hundred short jobs, and each would spend more time on importing torch and
transformers than on its work. Instead, the run's first job starts a server that imports them once; for every
later job it forks a process that runs the script, with the job's arguments, environment, folder and output.
Nothing of this project is imported beforehand. Where no server answers (yet), the script runs as usual.

What it saves: those imports take 4.8 s of processor time per job. Of the smoke scale's 107 jobs some 70 need them, of
the default scale's 361 some 270: about 340 s and 1300 s of processor time, more than half of what ``make`` takes.
Measured on two busy cores, ``make SCALE=smoke`` took 258 s with it; without it, 66 of the 107 jobs took over 900 s.

Nobody else can reach it: its socket lies in a folder that only this user may enter, which both ends check. The server
itself has no more of the environment than imports need, and no job gets secrets through it but the hub's token.

The server ends with the run (the process ``SEQUENCEMATCH_RUN_PID``), a script with the job that asked for it. The
processes that it forks are no children of the job, so of the job's benchmark the wall time alone tells what it took.
"""

import fcntl
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "transformers.models.llama.modeling_llama", "datasets", "accelerate")
OWNER = int(os.environ["SEQUENCEMATCH_RUN_PID"])
# The socket, in a folder that nobody else may enter. The path is relative because such paths may have 107 bytes.
FOLDER = Path(".snakemake") / "warm"
ADDRESS = FOLDER / f"{OWNER}.socket"
# Of the environment, what the server needs to import its libraries; and what no job needs, whatever else it gets.
NEEDED = re.compile(r"PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|LD_\w+|PYTHON\w+|OMP_\w+|MKL_\w+|CUDA_\w+|SEQUENCEMATCH_\w+")
SECRET = re.compile(r"(?!HF_|HUGGING).*(TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY)", re.IGNORECASE)


def main() -> None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        if not _is_private(FOLDER):
            raise PermissionError(f"others may enter '{FOLDER}'")
        connection.connect(str(ADDRESS))
    except OSError:
        connection.close()
        _start_server()
        os.execv(os.environ["SEQUENCEMATCH_PYTHON"], [os.environ["SEQUENCEMATCH_PYTHON"], *sys.argv[1:]])
    environment = {name: value for name, value in os.environ.items() if not SECRET.match(name)}
    job = json.dumps({"argv": sys.argv[1:], "folder": os.getcwd(), "environment": environment})
    socket.send_fds(connection, [b"job"], [0, 1, 2])
    connection.sendall(job.encode() + b"\n")
    status = connection.makefile().readline()
    sys.exit(int(status) if status else 1)


def _is_private(folder: Path) -> bool:
    """Whether a folder, which may not be a link, is this user's and closed to all others."""
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _start_server() -> None:
    """Start the run's server, unless another job has done so, or others could reach it."""
    try:
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(FOLDER):
            return
    except OSError:
        return
    lock = os.open(Path(".snakemake") / "warm_start.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    environment = {name: value for name, value in os.environ.items() if NEEDED.fullmatch(name)}
    environment["OMP_NUM_THREADS"] = "1"  # no thread may run when a process is forked
    command = [os.environ["SEQUENCEMATCH_PYTHON"], __file__, "--serve"]
    # The server keeps the lock for as long as it lives.
    nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen(command, env=environment, pass_fds=[lock], start_new_session=True, **nothing)  # type: ignore[call-overload]


def serve() -> None:
    """Import the heavy libraries, then fork a worker for each job that connects, until the run ends."""
    import importlib
    import select

    os.umask(0o077)
    for name in HEAVY:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    for left in FOLDER.iterdir():  # of runs that were killed
        left.unlink()
    listener.bind(str(ADDRESS))
    listener.listen(64)
    while Path(f"/proc/{OWNER}").exists():
        if select.select([listener], [], [], 1)[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _supervise(connection)
            connection.close()
    ADDRESS.unlink(missing_ok=True)


def _supervise(connection: socket.socket) -> None:
    """Run the job that ``connection`` describes, and report its exit status. End the job if the other side closes."""
    import threading

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 3, 3)
    job = json.loads(connection.makefile().readline())
    worker = os.fork()
    if worker == 0:
        os.setpgid(0, 0)
        _work(job, streams)
    threading.Thread(target=_end_with, args=(connection, worker), daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    connection.sendall(f"{status if status >= 0 else 128 - status}\n".encode())
    os._exit(0)


def _end_with(connection: socket.socket, worker: int) -> None:
    if not connection.recv(1):
        os.killpg(worker, signal.SIGKILL)


def _work(job: dict, streams: list[int]) -> None:
    import runpy

    import torch

    for target, stream in enumerate(streams):
        os.dup2(stream, target)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    sys.argv = job["argv"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    status = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
