"""The wheel, in an environment of its own: what ``pip install sequencematch`` brings runs the examples.

With the oldest versions of the extras too, the workflow has a plan.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain

import pytest
from packaging.version import Version
from support.workflow import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


EXTRAS = ("pipeline", "qlora", "pretrained", "judge", "report")


def bounds(*extras: str) -> dict[str, str]:
    """The oldest version of each dependency that its range allows, torch's apart: the locked version alone is tried."""
    ranges = [*PROJECT["dependencies"], *chain(*(PROJECT["optional-dependencies"][extra] for extra in extras))]
    return dict(re.match(r"([\w-]+)>=([\w.]+)", words).groups() for words in ranges) | {"torch": locked("torch")}


def locked(name: str) -> str:
    return re.search(rf"^{name}==(.+)$", (ROOT / "requirements.lock").read_text(), re.M)[1]


# Another copy of the project that PYTHONPATH names would count as installed.
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
VERSIONS = {"oldest": bounds(), "newest": {"torch": locked("torch")}}  # the oldest transformers is a 4.57
MINUTES = 15  # a package index that does not answer, or a search for versions without end, fails the test
LIBRARY = {"data", "export", "model", "sampling", "settings", "store", "training", "transformers_trainer"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    shutil.rmtree(ROOT / "build/lib", ignore_errors=True)  # setuptools packs what an earlier build left there
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def pinned(versions):
    return "".join(f"{name}=={version}\n" for name, version in versions.items())


def pip(python, command, *words):
    run(python, "-m", "pip", command, "--quiet", *words)


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, env=CLEAN, timeout=60 * MINUTES, **options)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_the_wheel_holds_the_library_without_the_reproduction(wheel):
    files = [name.split("/") for name in zipfile.ZipFile(wheel).namelist() if name.startswith("sequencematch/")]
    assert {folder for _, folder, *below in files if below} == LIBRARY
    beside = {"/".join(below) for _, *below in files if not below[-1].endswith(".py")}
    assert beside == {"py.typed", "__init__.pyi", "data/phrase_words.txt", "export/model_card.md.j2"}


@pytest.mark.long
@pytest.mark.parametrize("versions", VERSIONS.values(), ids=VERSIONS)
def test_the_wheel_alone_runs_the_examples(wheel, versions, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python, constraints = tmp_path / "venv/bin/python", tmp_path / "constraints.txt"
    constraints.write_text(pinned(versions))
    pip(python, "install", "--no-compile", "--constraint", constraints, wheel)
    words = ["-I", ROOT / "tests/support/installed.py", ROOT / "tests/examples", tmp_path / "output"]
    done = run(python, *words, cwd=tmp_path)
    installed = dict(line.split("==") for line in done.stdout.split() if "==" in line)
    wanted = {name.lower(): Version(version) for name, version in versions.items()}
    assert {name: Version(Version(installed[name]).public) for name in wanted} == wanted
    for left_out in ("snakemake", "datasets", "matplotlib", "peft", "bitsandbytes", "pandas", "scipy"):
        assert left_out not in installed
    if versions is VERSIONS["oldest"]:
        constraints.write_text(pinned(bounds(*EXTRAS)))
        pip(python, "install", "--no-compile", "--constraint", constraints, f"{wheel}[{','.join(EXTRAS)}]")
        words = ["-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "2", "--dry-run", "all", "report"]
        done = run(python, *words, "--config", "scale=smoke", cwd=tmp_path)
        assert re.search(r"finetune +[1-9]\d*\n", done.stdout + done.stderr), done.stdout
