"""Checkpoints of an unfinished run. They are atomic, complete and verified, and at most two are on disk.

A checkpoint is one file ``step-00000300.pt`` (tensors, numbers, lists; loaded with ``weights_only``). After it, a small
``step-00000300.json`` with its SHA-256 is written. A file without a digest was not finished.
"""

import json
import os
import pickle
import sys
from pathlib import Path

import torch

from sequencematch.store.files import sha256

KEPT = 2


def save_tensors(state: dict, target: Path) -> None:
    """``torch.save``, forced to the disk. Raises OSError where it cannot be written (disk full)."""
    with target.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError:  # what torch makes of any failure to write; another try says which it was
            file.write(bytes(2**20))
            file.flush()
            raise
        file.flush()
        os.fsync(file.fileno())


def save_checkpoint(folder: Path, step: int, state: dict) -> None:
    """Write a checkpoint, then delete all but the newest two. Where writing raises OSError, nothing is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{step:08d}.pt"
    partial = target.with_suffix(".partial")
    try:
        save_tensors(state, partial)
        digest = sha256(partial)
        partial.rename(target)
        manifest = target.with_suffix(".json.partial")
        manifest.write_text(json.dumps({"step": step, "sha256": digest}))
        manifest.rename(target.with_suffix(".json"))
    except (OSError, RuntimeError):
        partial.unlink(missing_ok=True)
        raise
    for old in sorted(folder.glob("step-*.json"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".pt").unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> tuple[int, dict] | None:
    """The newest undamaged checkpoint as (step, state), or None. Damaged ones are reported and skipped."""
    for manifest in sorted(folder.glob("step-*.json"), reverse=True):
        file = manifest.with_suffix(".pt")
        try:
            described = json.loads(manifest.read_text())
            if sha256(file) == described["sha256"]:
                return described["step"], torch.load(file, weights_only=True)
            problem = "its content does not match its digest"
        except (OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            problem = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"warning: checkpoint '{file}' is damaged ({problem}); an earlier one is used", file=sys.stderr)
    return None
