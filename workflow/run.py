"""Runs Snakemake in this folder, cleaning up first after a run that was killed: ``run.py TARGET ... [OPTION ...]``.

One run at a time holds ``.snakemake/run.lock``; the operating system lets go of it when that run ends, however it ends.
Whoever holds it may therefore end the jobs that a killed run left behind and remove its stale locks. Jobs are known
by a variable in their environment, so scripts that were started by hand are left alone; jobs of a SLURM cluster by
their name, which begins with a digest of this folder.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

MARK = "SEQUENCEMATCH_RUN"
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PROFILES = Path(__file__).parent / "profiles"


def main() -> None:
    profile, executor, words = arguments()
    state = Path(".snakemake")
    state.mkdir(exist_ok=True)
    lock = os.open(state / "run.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("error: another run is going on in this folder; wait for it or stop it, then run this again")
    others = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    end_jobs([process for process in others if environment(process).get(MARK) == os.getcwd()])
    if executor == "slurm":
        cancel_slurm_jobs()
        words += ["--slurm-jobname-prefix", slurm_prefix()]
    if any((state / "locks").glob("*")):
        if any(is_snakemake_here(process) for process in others):
            sys.exit("error: Snakemake is running in this folder; wait for it or stop it, then run this again")
        subprocess.run([*SNAKEMAKE, "--unlock", *words], check=True, capture_output=True)
    os.environ[MARK] = os.getcwd()
    if executor == "local":  # its jobs share one start of torch (workflow/warm)
        os.environ |= {"SEQUENCEMATCH_RUN_PID": str(os.getpid()), "SEQUENCEMATCH_PYTHON": sys.executable}
    os.set_inheritable(lock, True)  # Snakemake takes this process's place, and keeps the lock
    os.execv(sys.executable, [*SNAKEMAKE, "--workflow-profile", str(profile), *words])


def arguments() -> tuple[Path, str, list[str]]:
    """The profile, the executor it names, and what is left of the command line for Snakemake."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--workflow-profile", type=Path, default=PROFILES / "default")
    parser.add_argument("--executor")
    known, words = parser.parse_known_args()
    file = known.workflow_profile / "config.yaml"
    if not file.is_file():
        names = sorted(path.parent.name for path in PROFILES.glob("*/config.yaml"))
        sys.exit(f"error: '{known.workflow_profile}' holds no profile (config.yaml); there are {', '.join(names)}")
    executor = known.executor or (yaml.safe_load(file.read_text()) or {}).get("executor", "local")
    if executor == "slurm" and not shutil.which("sbatch"):
        sys.exit("error: there is no SLURM on this machine (no command 'sbatch'); run this on a cluster's login node")
    return known.workflow_profile, executor, [*words, "--executor", executor]


def slurm_prefix() -> str:
    """What the names of this folder's SLURM jobs begin with."""
    return "sequencematch-" + hashlib.sha256(os.getcwd().encode()).hexdigest()[:12]


def cancel_slurm_jobs() -> None:
    """Cancel the jobs that a killed run left in the queue or running, and wait until they are gone."""
    told = set()
    while jobs := slurm_jobs():
        for job in set(jobs) - told:
            print(f"cancelling SLURM job {job}, left behind by a run that was killed", file=sys.stderr)
        told |= set(jobs)
        subprocess.run(["scancel", *jobs], check=True)
        time.sleep(1)


def slurm_jobs() -> list[str]:
    """Ids of this folder's SLURM jobs that are not over."""
    listed = subprocess.run(["squeue", "--me", "--noheader", "--format=%i %j"], capture_output=True, text=True)
    if listed.returncode:
        sys.exit(f"error: SLURM does not answer ({listed.stderr.strip()}); try again when squeue works")
    return [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1].startswith(slurm_prefix())]


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
