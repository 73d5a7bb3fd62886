"""What a machine with a GPU can add to the results, measured piece by piece: make gpu-check.

First the tests that need CUDA; then what steps and sampling cost at the shape of Llama-2-7b (tables 3 and 4, sampling
next to transformers' generate); then the scale 'gpu' on generated questions. Nothing is downloaded. A piece is stopped
after nine minutes and goes on from its checkpoints. What is finished is not done again: run the same command until
nothing is left. Results are kept in results/reference/gpu.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from keep_reference import keep_overheads, keep_tables

from sequencematch import script
from sequencematch.config.experiment import Config
from sequencematch.config.jobs import Jobs
from sequencematch.config.load import load_config, scale_overlay
from sequencematch.errors import UserError
from sequencematch.store import provenance
from sequencematch.store.files import read_json, write_json

KEPT = Path("results/reference/gpu")
STATE = Path("results/gpu-check")
SECONDS = 540  # that a piece may take at a time: hosts that lend a GPU may end a command after ten minutes
PATIENCE = 30  # seconds that a stopped piece is given to end
MOST_PARTS = 60  # times that a piece is gone on with
SHAPE, SCALE = "paper", "gpu"  # scales whose costs are measured, and whose tables are made
# Tests marked cuda: what they compare, and the files they are in.
PARITY = {
    "Flex attention": ["tests/model/test_attention.py"],
    "the compiled projection": ["tests/model/test_projection.py"],
    "4-bit gradients after rollouts": ["tests/model/test_policy.py"],
    "two processes": ["tests/model/test_processes.py"],
}


@dataclass(frozen=True)
class Piece:
    """A command that takes less than ten minutes, or (``resumes``) goes on where it was stopped."""

    name: str
    command: tuple[str, ...]
    resumes: bool = False

    @property
    def record(self) -> Path:
        """Where its outcome is kept."""
        return STATE / f"{re.sub('[^a-z0-9]+', '-', self.name.lower())}.json"


def main() -> None:
    parser = script.parser(__doc__ or "")
    parser.add_argument("--dry-run", action="store_true", help="list the pieces, and run nothing")
    parser.add_argument("--pieces", type=int, metavar="N", help="end after N pieces, or parts of them (default: all)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"most time for one of them (default: {SECONDS})")
    args = parser.parse_args()
    every, taken = list(pieces()), 0
    if args.dry_run:
        print("\n".join(f"{'done ' if is_done(piece) else 'to do'}  {piece.name}" for piece in every))
        return
    check_device()
    for piece in every:
        while not is_done(piece):
            if taken == args.pieces:
                print(f"{sum(not is_done(one) for one in every)} of {len(every)} pieces are to go: run this again")
                return
            take(piece, args.seconds)
            taken += 1
    keep(every)


def check_device() -> None:
    """Raises UserError where torch finds no GPU that CUDA runs on."""
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            "torch finds no CUDA device on this machine: run make gpu-check where there is one (docs/paper_scale.md)"
        )


def pieces() -> Iterator[Piece]:
    """All of them, the cheapest first."""
    for name, files in PARITY.items():
        yield Piece(f"parity: {name}", (sys.executable, "-m", "pytest", "-q", "-m", "cuda", *files))
    config = configuration(SHAPE)
    jobs = Jobs(config)
    for table in config.overheads:
        for part in ("steps", *jobs.overhead_parts(table)):
            yield Piece(f"{table} at 7b: {part}", making(SHAPE, [f"{jobs.folder}/overheads/{table}/{part}"]))
        yield Piece(f"{table} at 7b: the table", making(SHAPE, jobs.overhead_files(table)))
    config = configuration(SCALE)
    jobs = Jobs(config)
    for table, content in config.tables.items():
        if config.source(content.task) is None:  # generated questions: nothing to download
            for seed in config.seeds:
                runs = [run for run in jobs.table_metrics(SimpleNamespace(table=table)) if f"/seed={seed}/" in run]
                yield Piece(f"{table} at the scale gpu: seed {seed}", making(SCALE, runs), resumes=True)
            yield Piece(f"{table} at the scale gpu: the table", making(SCALE, jobs.table_files(table)), resumes=True)


def configuration(scale: str) -> Config:
    """The checked configuration of a scale."""
    return load_config(Path("config.yaml"), *scale_overlay(Path("workflow/scales"), scale))


def making(scale: str, files: Sequence[str]) -> tuple[str, ...]:
    """The command that makes some results of a scale."""
    return (sys.executable, "workflow/launcher/run.py", *files, "--cores", "all", "--config", f"scale={scale}")


def is_done(piece: Piece) -> bool:
    """Whether a piece was finished, by the code that is here now."""
    if not piece.record.exists():
        return False
    found = read_json(piece.record, "run make gpu-check again")
    return found.get("state") == "done" and found.get("commit") == commit()


@cache
def commit() -> str:
    """The commit that is checked out."""
    return provenance.describe()["commit"]


def take(piece: Piece, seconds: float) -> None:
    """Run a piece, for ``seconds`` at most, and record its outcome.

    Raises UserError where it fails, or is stopped and cannot go on where it was.
    """
    before = read_json(piece.record, "delete it") if piece.record.exists() else {}
    parts = before.get("parts", 0) + 1 if before.get("state") == "stopped" else 1
    print(f"{piece.name} ...", flush=True)
    begun = time.time()
    with subprocess.Popen(piece.command, start_new_session=True) as process:
        try:
            code, state = process.wait(timeout=seconds), "done"
        except subprocess.TimeoutExpired:
            state = "stopped"
            code = end(process)
        except BaseException:
            end(process)
            raise
    if state == "done" and code:
        state = "failed"
    facts = {"piece": piece.name, "state": state, "parts": parts, "seconds": round(time.time() - begun, 1)}
    write_json(piece.record, facts | device() | provenance.describe())
    if state == "failed":
        raise UserError(f"the piece '{piece.name}' failed (status {code}): its message is above")
    if state == "stopped" and (not piece.resumes or parts == MOST_PARTS):
        raise UserError(
            f"the piece '{piece.name}' was not finished after {parts} times {seconds:.0f} s: give it longer, as by "
            f'make gpu-check ARGS="--seconds {2 * seconds:.0f}"'
        )


def end(process: subprocess.Popen) -> int:
    """End a command and all that it started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            return process.wait(timeout=PATIENCE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    return process.wait()


def device() -> dict[str, str]:
    """The GPU, and the CUDA that torch was built for."""
    import torch

    found = torch.cuda.is_available()
    return {"device": torch.cuda.get_device_name() if found else "none", "cuda": torch.version.cuda or "none"}


def keep(every: Sequence[Piece]) -> None:
    """Copy what was made to the reference, with the outcome of every piece."""
    keep_tables(Path("results") / SCALE, KEPT, configuration(SCALE))
    keep_overheads(Path("results") / SHAPE, KEPT, configuration(SHAPE))
    write_json(KEPT / "pieces.json", [read_json(piece.record) for piece in every])
    print(f"all {len(every)} pieces are done: {KEPT}")


if __name__ == "__main__":
    script.run(main)
