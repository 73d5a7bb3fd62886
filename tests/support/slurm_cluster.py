"""A real SLURM cluster of one node, on this machine, with its own configuration and state."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

CONFIGURATION = Path("/etc/slurm/slurm.conf")  # commands inside of jobs look nowhere else
MARK = "# written by a test\n"
COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")


def missing() -> str:
    """Why no cluster can be started here; empty where one can."""
    if os.geteuid() != 0:
        return "only root can start SLURM's daemons"
    absent = [name for name in COMMANDS if not shutil.which(name)]
    if absent:
        return f"SLURM is not installed (no {', '.join(absent)}): make test-packages"
    if CONFIGURATION.exists() and not CONFIGURATION.read_text().startswith(MARK):
        return f"'{CONFIGURATION}' exists: this machine belongs to a cluster"
    return ""


@contextmanager
def slurm_cluster(folder: Path, cpus: int = 2) -> Iterator[None]:
    """Start munge, the controller and the node's daemon; in the end, stop them and remove the configuration.

    The node has ``cpus`` CPUs and what it takes for a GPU. Jobs end 2 s after they are told to.
    """
    without = os.environ.pop("SLURM_CONF", None)  # commands are to find the file written here
    folder.chmod(0o755)
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o600)
    host, ports = socket.gethostname(), _free_ports(2)
    memory = psutil.virtual_memory().total >> 20
    CONFIGURATION.parent.mkdir(exist_ok=True)
    gres = CONFIGURATION.with_name("gres.conf")
    CONFIGURATION.write_text(f"""{MARK}
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MinJobAge=300
KillWait=2
OverTimeLimit=0
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")
    gres.write_text("Name=gpu File=/dev/null\n")
    own = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={folder}/key", *own],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    ]
    running = []
    try:
        for daemon in daemons:
            log = (folder / f"{daemon[0]}.out").open("w")
            running.append(subprocess.Popen(daemon, stdout=log, stderr=log, start_new_session=True))
            if daemon[0] == "munged":
                _wait_for((folder / "munge.socket").exists, folder)
        _wait_for(lambda: "idle" in _output("sinfo", "--noheader", "--format=%t"), folder)
        yield
    finally:
        _output("scancel", "--user=root", "--signal=KILL")
        _output("scancel", "--user=root")
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        CONFIGURATION.unlink()
        gres.unlink()
        if without is not None:
            os.environ["SLURM_CONF"] = without


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True).stdout


def _wait_for(condition, folder: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in folder.glob("*.out"))
            raise RuntimeError(f"SLURM did not start:\n{logs}")
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
