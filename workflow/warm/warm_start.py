"""Runs a script in a process that has its heavy imports behind it: ``warm_start.py SCRIPT ARGUMENT ...``.

A run on one machine starts more than a hundred short jobs, and each would spend more time on importing torch and
transformers than on its work. Instead, the run's first job starts a server that imports them once; for every
later job it forks a process that runs the script, with the job's arguments, environment, folder and output.
Nothing of this project is imported beforehand. Where no server answers (yet), the script runs as usual.

The server ends with the run (the process ``SEQUENCEMATCH_RUN_PID``), a script with the job that asked for it.
Benchmarks of such jobs are right about time; memory is not counted, for the process is no child of the job's shell.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "transformers.models.llama.modeling_llama", "datasets", "accelerate")
OWNER = int(os.environ["SEQUENCEMATCH_RUN_PID"])
ADDRESS = f"\0sequencematch-{OWNER}"  # an abstract socket: no file is left behind


def main() -> None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(ADDRESS)
    except OSError:
        _start_server()
        os.execv(os.environ["SEQUENCEMATCH_PYTHON"], [os.environ["SEQUENCEMATCH_PYTHON"], *sys.argv[1:]])
    job = json.dumps({"argv": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)})
    socket.send_fds(connection, [b"job"], [0, 1, 2])
    connection.sendall(job.encode() + b"\n")
    status = connection.makefile().readline()
    sys.exit(int(status) if status else 1)


def _start_server() -> None:
    """Start the run's server, unless another job has done so."""
    lock = os.open(Path(".snakemake") / "warm_start.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # no thread may run when a process is forked
    command = [os.environ["SEQUENCEMATCH_PYTHON"], __file__, "--serve"]
    # The server keeps the lock for as long as it lives.
    subprocess.Popen(command, env=environment, pass_fds=[lock], start_new_session=True, **quiet)


def serve() -> None:
    import importlib
    import select

    for name in HEAVY:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(ADDRESS)
    listener.listen(64)
    while Path(f"/proc/{OWNER}").exists():
        if select.select([listener], [], [], 1)[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _supervise(connection)
            connection.close()


def _supervise(connection: socket.socket) -> None:
    """Run the job that ``connection`` describes; tell its exit status; end it where the other side goes away."""
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
