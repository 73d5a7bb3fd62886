"""Run Snakemake in this folder, after cleaning up what a killed run left behind: ``run.py TARGET ... [OPTION ...]``.

One run at a time holds ``.snakemake/run.lock``; the operating system releases it when that run ends for whatever
reason. So the holder may end the jobs that a killed run left behind, and remove its stale locks. Jobs are recognised by
a variable in their environment, so scripts that were started by hand are left alone. Jobs of a SLURM cluster are
recognised by their name, which begins with a digest of this folder.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

# The library of this folder, whichever checkout the virtual environment was set up for.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from sequencematch import script
from sequencematch.config.keep_outputs import put_back_all
from sequencematch.errors import UserError

MARK = "SEQUENCEMATCH_RUN"
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PATIENCE = 3  # seconds in which what is ending ends
KEPT = ("metadata", "incomplete", "locks", "log")  # folders of Snakemake's records
PROFILES = Path(__file__).parents[2] / "profiles"


def main() -> None:
    profile, executor, words = arguments()
    state = Path(".snakemake")
    try:
        check_state(state)
        script.check_writable(state)
    except (OSError, UserError) as error:
        sys.exit(f"error: {script.explanation(error)}")
    lock = take_lock(state / "run.lock")
    # The environment is None where we may not read it.
    others = [process for process in psutil.process_iter(["environ"]) if process.pid != os.getpid()]
    end_jobs([process for process in others if (process.info["environ"] or {}).get(MARK) == os.getcwd()])
    if executor == "slurm":
        cancel_slurm_jobs()
        words += ["--slurm-jobname-prefix", slurm_prefix()]
    if any((state / "locks").glob("*")):
        if any(is_snakemake_here(process) for process in others):
            sys.exit("error: Snakemake is running in this folder; wait for it or stop it, then run this again")
        subprocess.run([*SNAKEMAKE, "--unlock", *words], check=True, capture_output=True)
    put_back_all(Path("results"))
    os.environ[MARK] = os.getcwd()
    if executor == "local":  # its jobs share one start of torch (workflow/launcher/warm)
        os.environ |= {"SEQUENCEMATCH_RUN_PID": str(os.getpid()), "SEQUENCEMATCH_PYTHON": sys.executable}
    os.set_inheritable(lock, True)  # Snakemake takes this process's place, and keeps the lock
    os.execv(sys.executable, [*SNAKEMAKE, "--profile", str(profile), *words])


def check_state(state: Path) -> None:
    """End with one sentence if Snakemake could not keep its records in this folder."""
    try:
        state.mkdir(exist_ok=True)
        for name in KEPT:
            (state / name).mkdir(exist_ok=True)
        (state / "run.lock").open("a").close()
    except OSError as error:
        if error.errno in script.FULL:
            raise
        sys.exit(
            f"error: '{error.filename}', where Snakemake keeps its records, is damaged or closed to you: correct its "
            "permissions, or remove .snakemake (results stay; what made them is then unknown, so make verify first)"
        )


def take_lock(file: Path) -> int:
    """Take the lock on this folder. It waits, because a run that was just killed holds the lock until it has ended."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > end:
                sys.exit("error: another run is going on in this folder; wait for it or stop it, then run this again")
            time.sleep(0.1)


def arguments() -> tuple[Path, str, list[str]]:
    """The profile, the executor it names, and what is left of the command line for Snakemake."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--profile", type=Path, default=PROFILES / "default")
    parser.add_argument("--executor")
    known, words = parser.parse_known_args()
    check_settings(words)
    file = known.profile / "config.yaml"
    if not file.is_file():
        names = sorted(path.parent.name for path in PROFILES.glob("*/config.yaml"))
        sys.exit(f"error: '{known.profile}' holds no profile (config.yaml); there are {', '.join(names)}")
    executor = known.executor or (yaml.safe_load(file.read_text()) or {}).get("executor", "local")
    if executor == "slurm" and not shutil.which("sbatch"):
        sys.exit("error: there is no SLURM on this machine (no command 'sbatch'); run this on a cluster's login node")
    parser.add_argument("--cores", "-c")
    limited = parser.parse_known_args()[0].cores or executor != "local"
    return known.profile, executor, [*words, "--executor", executor, *([] if limited else ["--cores", "all"])]


def check_settings(words: list[str]) -> None:
    """End with one sentence if a word after --config is no setting. Snakemake would end with a traceback."""
    given = False
    for word in words:
        given = word in ("--config", "-C") or (given and not word.startswith("-"))
        if given and word not in ("--config", "-C") and not re.fullmatch(r"[A-Za-z_]\w*=.*", word, re.DOTALL):
            example = "CONFIG=\"seeds=[7] 'objective={alpha: 0.1}'\""
            sys.exit(f"error: '{word}' is no setting: write name=value, in quotes where it holds blanks: {example}")


def slurm_prefix() -> str:
    """What the names of this folder's SLURM jobs begin with."""
    return "sequencematch-" + hashlib.sha256(os.getcwd().encode()).hexdigest()[:12]


def cancel_slurm_jobs() -> None:
    """Cancel the jobs that a killed run left in the queue or running, and wait until they are gone."""
    told: set[str] = set()
    while jobs := slurm_jobs():
        for job in set(jobs) - told:
            print(f"cancelling SLURM job {job}, left behind by an earlier run", file=sys.stderr)
        told |= set(jobs)
        subprocess.run(["scancel", *jobs], check=True)
        time.sleep(1)


def slurm_jobs() -> list[str]:
    """Ids of this folder's SLURM jobs that are not over."""
    listed = subprocess.run(["squeue", "--me", "--noheader", "--format=%i %j"], capture_output=True, text=True)
    if listed.returncode:
        sys.exit(f"error: SLURM does not answer ({listed.stderr.strip()}); try again when squeue works")
    return [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1].startswith(slurm_prefix())]


def is_snakemake_here(process: psutil.Process) -> bool:
    """Whether a process is a Snakemake that runs in this folder: its program, or its module."""
    try:
        return process.cwd() == os.getcwd() and "snakemake" in [Path(word).name for word in process.cmdline()[:3]]
    except psutil.Error:
        return False


def end_jobs(jobs: list[psutil.Process]) -> None:
    """Kill what an earlier run left running. Outputs are atomic and training resumes, so nothing is lost.

    Processes of a run that has just ended are given time to end by themselves, without a message.
    """
    _, jobs = psutil.wait_procs(jobs, timeout=PATIENCE)
    for job in jobs:
        with contextlib.suppress(psutil.Error):  # it has ended by now
            if job.status() != psutil.STATUS_ZOMBIE:  # its parent has not read its exit status yet
                print(f"ending process {job.pid}, left behind by an earlier run", file=sys.stderr)
                job.kill()
    psutil.wait_procs(jobs, timeout=10)


if __name__ == "__main__":
    main()
