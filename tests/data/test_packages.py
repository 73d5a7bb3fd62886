"""Files out of packages: the real command, with pip itself on a folder of ours and stand-ins for npm and apt-get."""

import bz2
import lzma
import os
import subprocess
import sys

import pytest
from support.experiment import SOURCE
from support.packages import deb, npm_package, sha256, tar, wheel

from sequencematch.data.packages import file_name, unpack
from sequencematch.errors import UserError
from sequencematch.settings.data import Source

FILES = {"package/one.txt": b"1", "package/deep/two.txt": b"22", "package/other": b"-"}
MAKE = {"pip": wheel, "npm": npm_package, "deb": deb}
SUFFIX = {"pip": "whl", "npm": "tgz", "deb": "deb"}
CLIENT = {"npm": "npm", "deb": "apt-get"}


def package(client, digest, **others) -> Source:
    values = {"kind": "package", "client": client, "name": "tiny", "version": "1.0", "sha256": digest}
    return Source(**(values | {"inside": ("package/*.txt",), "licence": "ours"} | others))


def fetch(folder, source, **environment):
    """Run the script in ``folder`` with no program but those in its folder ``bin``."""
    words = [sys.executable, SOURCE / "fetch_package.py", "--output", "files"]
    for name in ("kind", "client", "name", "version", "sha256", "licence"):
        words += [f"--source.{name}", getattr(source, name)]
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder), "PIP_NO_INDEX": "1"} | environment
    command = [*words, "--source.inside", *source.inside]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def stand_in(folder, client, file):
    """A client that writes ``file`` where it runs, and what it was asked for beside this folder's results."""
    path = folder / "bin" / CLIENT[client]
    path.parent.mkdir(exist_ok=True)
    copy = (
        f"/bin/cp {file} downloaded.{SUFFIX[client]}"
        if file
        else "echo 'E: no network at http://me:secret@host/' >&2; exit 1"
    )
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\n{copy}\n')
    path.chmod(0o755)


def written(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("client", MAKE)
def test_a_package_is_downloaded_once_checked_and_unpacked(tmp_path, client):
    (tmp_path / "there").mkdir()
    name = "tiny-1.0-py3-none-any.whl" if client == "pip" else f"tiny.{SUFFIX[client]}"
    file = MAKE[client](tmp_path / "there" / name, FILES)
    source = package(client, sha256(file))
    if client != "pip":
        stand_in(tmp_path, client, file)
    done = fetch(tmp_path, source, PIP_FIND_LINKS=str(tmp_path / "there"))
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "files") == {"package/one.txt": b"1", "package/deep/two.txt": b"22"}
    assert [p.name for p in (tmp_path / "corpora/packages").iterdir()] == [f"tiny-1.0.{SUFFIX[client]}"]
    if client != "pip":
        asked = {"npm": "pack tiny@1.0", "deb": "download tiny=1.0"}[client]
        assert (tmp_path / "asked").read_text() == asked + "\n"
    file.unlink()  # from now on it is kept
    assert fetch(tmp_path, source).returncode == 0
    (tmp_path / "corpora/packages" / f"tiny-1.0.{SUFFIX[client]}").write_bytes(b"damaged")
    done = fetch(tmp_path, source)
    assert done.returncode == 1 and f"and its source says {source.sha256}" in done.stderr


@pytest.mark.parametrize("client", MAKE)
def test_without_network_or_client_one_sentence_names_the_file_to_put_there(tmp_path, client):
    source = package(client, "0" * 64)
    remedy = (
        f"put the package's file there by hand, as 'corpora/packages/tiny-1.0.{SUFFIX[client]}' (SHA-256 {'0' * 64})"
    )
    if client != "pip":  # pip comes with Python
        done = fetch(tmp_path, source)
        assert done.stderr == (
            f"error: cannot download tiny 1.0: there is no '{CLIENT[client]}' on this machine; "
            f"install it, or {remedy}\n"
        )
        stand_in(tmp_path, client, None)
    done = fetch(tmp_path, source)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.endswith(f": check the network and the version, or {remedy}\n") and "secret" not in done.stderr
    # The file put there by hand, no client is needed.
    (tmp_path / "corpora/packages").mkdir(exist_ok=True, parents=True)
    file = MAKE[client](tmp_path / f"corpora/packages/tiny-1.0.{SUFFIX[client]}", FILES)
    assert fetch(tmp_path, package(client, sha256(file))).returncode == 0


def test_another_file_than_the_digest_says_is_not_kept(tmp_path):
    stand_in(tmp_path, "npm", npm_package(tmp_path / "other.tgz", FILES))
    done = fetch(tmp_path, package("npm", "0" * 64))
    assert done.returncode == 1 and "has the SHA-256" in done.stderr and done.stderr.count("\n") == 1
    assert not written(tmp_path / "corpora") and not (tmp_path / "files").exists()


def test_what_is_not_inside_is_named_and_nothing_leaves_the_folder(tmp_path):
    outside = {"../package/three.txt": b"3", f"{tmp_path}/in/four.txt": b"4"}
    file = npm_package(tmp_path / "a.tgz", FILES | outside)
    with pytest.raises(UserError, match="holds no package/none.txt: correct the source's inside"):
        unpack(file, package("npm", "0" * 64, inside=("package/none.txt", "package/other")), tmp_path / "out")
    unpack(file, package("npm", "0" * 64, inside=("*",)), tmp_path / "in" / "out")
    assert written(tmp_path / "in") == {f"out/{name}": content for name, content in FILES.items()}


def refusal(file, client, tmp_path, **others):
    with pytest.raises(UserError) as caught:
        unpack(file, package(client, "0" * 64, **others), tmp_path / "out")
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("client", MAKE)
def test_a_file_of_another_kind_is_one_sentence(tmp_path, client):
    for other, make in MAKE.items():
        file = make(tmp_path / other, FILES)
        if other != client:
            assert f": is it a file of {client}?" in refusal(file, client, tmp_path)
    file.write_bytes(b"no archive")
    assert "cannot be unpacked (" in refusal(file, client, tmp_path)


@pytest.mark.parametrize("compress", [lzma.compress, bz2.compress, bytes])
def test_every_compression_of_a_deb_is_read(tmp_path, compress):
    file = deb(tmp_path / "a.deb", {}, compress(tar(FILES)))
    unpack(file, package("deb", "0" * 64), tmp_path / "out")
    assert written(tmp_path / "out") == {name: FILES[name] for name in ("package/one.txt", "package/deep/two.txt")}


def test_a_deb_of_zstd_is_read_or_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "data.tar").write_bytes(tar(FILES))
    (tmp_path / "bin/zstd").write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path}/data.tar\n")
    (tmp_path / "bin/zstd").chmod(0o755)
    file = deb(tmp_path / "a.deb", {}, b"(\xb5/\xfd...")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    unpack(file, package("deb", "0" * 64), tmp_path / "out")
    assert written(tmp_path / "out") == {name: FILES[name] for name in ("package/one.txt", "package/deep/two.txt")}
    monkeypatch.setenv("PATH", "")
    assert "there is no program zstd on this machine: install it" in refusal(file, "deb", tmp_path)


def test_a_link_is_named_with_the_file_that_it_leads_to(tmp_path):
    file = npm_package(tmp_path / "a.tgz", FILES)
    said = refusal(file, "npm", tmp_path, inside=("package/*.txt", "package/link"))
    assert said.endswith("holds package/link as a link to /etc/passwd: name that file in the source's inside")


def test_names_of_kept_files_are_plain():
    assert file_name(package("npm", "0" * 64, name="@me/tiny")) == "me-tiny-1.0.tgz"
    assert file_name(package("deb", "0" * 64, version="1:2.0-1")) == "tiny-1-2.0-1.deb"
    assert os.sep not in file_name(package("pip", "0" * 64))
