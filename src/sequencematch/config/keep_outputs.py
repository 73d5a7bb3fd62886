"""Results of an earlier run, kept until a run has replaced them.

Snakemake deletes the outputs of a job before it runs, and again if it fails. So a run begins by making links to the
outputs of all its jobs. Where it ends without a result in the place of an earlier one, that one is put back. It is
marked as unfinished, so that the next run makes it. A run that is killed leaves its links to the next one.
"""

import json
import os
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path

KEPT = ".earlier"  # the folder of links, in that of the scale's results
LIST = "outputs.json"  # in it: what is kept, by its path in the results
MARKERS = Path(".snakemake/incomplete")  # Snakemake makes again what has a marker here


def keep(outputs: Iterable[str], results: Path) -> None:
    """Make links to those of the ``outputs`` below ``results`` that exist. What a killed run left is kept as well."""
    below = [Path(output).relative_to(results) for output in outputs if results in Path(output).parents]
    there = [name for name in below if (results / name).exists()]
    if not there:
        return
    folder = results / KEPT
    folder.mkdir(exist_ok=True)
    (folder / LIST).write_text(json.dumps(sorted({*map(str, there), *_listed(folder)})))
    for name in there:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (results / name).is_dir():
            shutil.copytree(results / name, folder / name, symlinks=True, copy_function=_link_file)
        else:
            _link_file(results / name, folder / name)


def put_back(results: Path) -> list[Path]:
    """Put back what is kept and is no longer there, forget the rest, and return what was put back."""
    folder = results / KEPT
    missing = [name for name in _listed(folder) if (folder / name).exists() and not (results / name).exists()]
    for name in missing:
        _mark_unfinished(results / name)
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(results / name)
    forget(results)
    return [results / name for name in missing]


def put_back_all(everything: Path) -> None:
    """The same for the results of every scale: what a killed run left."""
    for folder in everything.glob(f"*/{KEPT}"):
        put_back(folder.parent)


def forget(results: Path) -> None:
    """Remove the links, because a run has replaced all that was kept."""
    shutil.rmtree(results / KEPT, ignore_errors=True)


def _listed(folder: Path) -> list[str]:
    try:
        return list(json.loads((folder / LIST).read_text()))
    except (OSError, ValueError):
        return []


def _link_file(file: Path | str, link: Path | str) -> None:
    """A file under another name, without a copy of its content where the file system can do so."""
    try:
        os.link(file, link)
    except OSError:
        shutil.copy2(file, link)


def _mark_unfinished(result: Path) -> None:
    """Leave the marker that Snakemake leaves when a job begins: a file of the path's name in base64, cut to fit."""
    MARKERS.mkdir(parents=True, exist_ok=True)
    longest = os.pathconf(MARKERS, "PC_NAME_MAX") - 1
    encoded = urlsafe_b64encode(str(result).encode()).decode()
    parts = [encoded[start : start + longest] for start in range(0, len(encoded), longest)]
    folder = MARKERS.joinpath(*[f"@{part}" for part in parts[:-1]])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / parts[-1]).write_text(json.dumps({"external_jobid": None}))
