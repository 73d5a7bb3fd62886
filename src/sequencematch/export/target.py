"""Where an export may be written: a new folder, or an earlier export of the same model that nobody has changed."""

import hashlib
import os
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.store.files import check_place, read_json, write_json
from sequencematch.store.provenance import file_digests

MANIFEST = ".export.json"  # lists the files of an export, with their SHA-256
WEIGHTS = ("lm.safetensors", "actions.safetensors")


def check_target(output: Path, checkpoint: Path) -> Path:
    """The absolute path of ``output``.

    Raises UserError where the model of ``checkpoint`` cannot be written there, or where files would be lost.
    """
    check_place(output)
    target = Path(os.path.abspath(output))
    source = Path(os.path.realpath(checkpoint))
    if Path(os.path.realpath(target)) in [source, *source.parents]:
        raise UserError(f"'{output}' holds the trained model itself: choose another folder")
    if target.exists():
        _check_replaceable(target, checkpoint)
    return target


def _check_replaceable(target: Path, checkpoint: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if not (target / MANIFEST).is_file():
        raise UserError(f"'{target}' exists and is no exported model: choose another folder")
    manifest = read_json(target / MANIFEST, "choose another folder")
    if manifest.get("model") != _weights(checkpoint):
        raise UserError(f"'{target}' holds the export of another model: delete it, or choose another folder")
    if manifest.get("files") != _files(target):
        raise UserError(
            f"'{target}' was changed after it was exported: move what you want to keep, delete the folder, or choose "
            "another one"
        )


def write_manifest(folder: Path, checkpoint: Path) -> None:
    """List the files of a finished export, and the model that it is of."""
    write_json(folder / MANIFEST, {"model": _weights(checkpoint), "files": _files(folder)})


def _files(folder: Path) -> dict[str, str]:
    """The files of an export but the manifest, with their digests; whatever else lies there by its name alone."""
    digests = file_digests(folder)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {MANIFEST}
    return dict.fromkeys(names, "") | digests


def _weights(checkpoint: Path) -> str:
    """The digest of the trained tensors."""
    digests = [file_digests(checkpoint / name) for name in WEIGHTS]
    return hashlib.sha256(repr(digests).encode()).hexdigest()
