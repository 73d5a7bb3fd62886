"""Runs Snakemake in this folder, cleaning up first after a run that was killed: ``run.py TARGET ... [OPTION ...]``.

One run at a time holds ``.snakemake/run.lock``; the operating system lets go of it when that run ends, however it ends.
Whoever holds it may therefore end the jobs that a killed run left behind and remove its stale locks. Jobs are known
by a variable in their environment, so scripts that were started by hand are left alone.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import psutil

MARK = "SEQUENCEMATCH_RUN"
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PROFILE = Path(__file__).parent / "profiles" / "default"


def main() -> None:
    state = Path(".snakemake")
    state.mkdir(exist_ok=True)
    lock = os.open(state / "run.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("error: another run is going on in this folder; wait for it or stop it, then run this again")
    others = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    end_jobs([process for process in others if environment(process).get(MARK) == os.getcwd()])
    if any((state / "locks").glob("*")):
        if any(is_snakemake_here(process) for process in others):
            sys.exit("error: Snakemake is running in this folder; wait for it or stop it, then run this again")
        subprocess.run([*SNAKEMAKE, "--unlock", *sys.argv[1:]], check=True, capture_output=True)
    os.environ[MARK] = os.getcwd()
    os.environ |= {"SEQUENCEMATCH_RUN_PID": str(os.getpid()), "SEQUENCEMATCH_PYTHON": sys.executable}
    os.set_inheritable(lock, True)  # Snakemake takes this process's place, and keeps the lock
    os.execv(sys.executable, [*SNAKEMAKE, "--workflow-profile", str(PROFILE), *sys.argv[1:]])


def environment(process: psutil.Process) -> dict[str, str]:
    """A process's environment, empty where it is not ours to read."""
    try:
        return process.environ()
    except psutil.Error:
        return {}


def is_snakemake_here(process: psutil.Process) -> bool:
    try:
        return process.cwd() == os.getcwd() and any("snakemake" in word for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def end_jobs(jobs: list[psutil.Process]) -> None:
    """Kill what a killed run left running: outputs are atomic and training resumes, so nothing is lost."""
    for job in jobs:
        print(f"ending process {job.pid}, left behind by a run that was killed", file=sys.stderr)
        try:
            job.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(jobs, timeout=10)


if __name__ == "__main__":
    main()
