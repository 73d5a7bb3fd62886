"""The workflow, through the real Snakemake: its jobs, runs that are killed, and configurations that are wrong.

The scripts of a copied tree are preceded by a stub that only creates their outputs, so that whole runs take seconds.
"""

import ast
import re
import signal
import subprocess
import sys
import tomllib
from functools import partial
from importlib import metadata
from itertools import chain

import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from support.workflow import ROOT, copy_tree, is_running, launch, launcher, snakemake, wait_for

from sequencematch.store.code_digest import SOURCE, import_closure


@pytest.mark.slow
def test_a_killed_run_is_taken_up_again_without_help(tmp_path):
    """SIGKILL leaves a lock, incomplete outputs and a job that goes on; the next run deals with all three."""
    tree = copy_tree(tmp_path)
    (tree / "wait").touch()
    first = subprocess.Popen(launcher("table6"), cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((tree / "waiting").exists)
    second = launch(tree, "table6", status=1)
    assert second.stderr.count("\n") == 1 and second.stderr.startswith("error: another run is going on in this folder")

    jobs = [
        p for p in psutil.Process(first.pid).children(recursive=True) if "make_arithmetic.py" in " ".join(p.cmdline())
    ]
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert jobs and all(job.is_running() for job in jobs) and any((tree / ".snakemake" / "locks").iterdir())
    (tree / "wait").rename(tree / "waited")
    launch(tree, "table6")
    assert not any(map(is_running, jobs))
    assert (tree / "results/smoke/tables/table6.csv").exists()


@pytest.mark.slow
def test_a_job_with_several_gpus_starts_a_process_for_each(tmp_path):
    """Also: the number of GPUs changes nothing that would make finished results again."""
    tree = copy_tree(tmp_path)
    script = tree / "src" / "pretrain_base.py"
    record = 'import os, sys\nopen("process" + os.environ.get("RANK", ""), "w").write(" ".join(sys.argv))\n'
    script.write_text(record + script.read_text())
    words = ["results/smoke/mul/base/seed=1/model", "--no-hooks", "--resources", "gpu=2"]
    snakemake(tree, *words, config=["scale=smoke", "jobs={train: {gpu: 2}}"])  # without the hook that looks for GPUs
    assert sorted(file.name for file in tree.glob("process*")) == ["process0", "process1"]
    assert (tree / "process1").read_text().endswith("--gpus 2")
    again = snakemake(tree, *words, config=["scale=smoke"])
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [snakemake, partial(launch, script="why")])
def test_bad_configuration_ends_the_real_command_in_one_sentence(command, tmp_path):
    """``tests/config/refusals.txt`` has all that is refused."""
    done = command(copy_tree(tmp_path), config=["scale=smoke", "objective={gama: 0.5}"], status=1)
    assert (done.stdout, done.stderr) == ("", "error: command line: objective.gama is unknown; did you mean 'gamma'?\n")
    assert not (tmp_path / "results").exists()


def pins(requirements):
    return dict(re.fullmatch(r"([\w-]+)==(\S+)", requirement).groups() for requirement in requirements)


def requirements():
    """What pyproject.toml declares, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(w) for w in (*project["dependencies"], *chain(*project["optional-dependencies"].values()))]


def test_the_lock_alone_holds_exact_versions():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = pins(line for line in lines if not line.startswith("#"))
    for requirement in requirements():
        assert not any(part.operator == "==" for part in requirement.specifier), f"{requirement} belongs to the lock"
        if requirement.name != "sequencematch":
            assert requirement.specifier.contains(locked[requirement.name.lower()]), requirement
    assert not [name for name in locked if "nvidia" in name or "cuda" in name or "+" in locked[name]]
    for file in (ROOT / "envs").glob("*.yaml"):
        packages = next(d["pip"] for d in yaml.safe_load(file.read_text())["dependencies"] if isinstance(d, dict))
        pinned = {name.lower(): version for name, version in pins(packages).items()}
        assert pinned.items() <= locked.items()
        here = {name.lower().replace("_", "-") for name in pinned}
        assert not required(pinned) - here, f"{file.name} leaves open what its packages ask for"


DATASET_SCRIPTS = ("make_arithmetic", "make_translation", "make_text", "make_graphs")


def scripts_by_environment():
    """The scripts that run in each environment, as the rules name them."""
    found = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            environment = re.search(r"envs/(\w+\.yaml)", rule)[1]
            named = re.search(r"call=rule_parameter\(\s*(lambda|\"\w+\")", rule)[1]
            scripts = DATASET_SCRIPTS if named == "lambda" else [named.strip('"')]
            found.setdefault(environment, set()).update(scripts)
    return found


def required(distributions):
    """The distributions named, and all that they require in turn, by their normal names."""
    found, waiting = set(), list(distributions)
    while waiting:
        name = re.match(r"[\w.-]+", waiting.pop())[0].lower().replace("_", "-")
        if name not in found:
            found.add(name)
            try:
                asked = map(Requirement, metadata.requires(name) or ())
                waiting += [str(r) for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
            except metadata.PackageNotFoundError:
                continue  # of another platform
    return found


def third_party_imports(script):
    """Top-level modules that a script's code imports, beside the standard library and this project."""
    modules = set()
    for file in (file for file in import_closure(SOURCE / f"{script}.py") if file.suffix == ".py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    return modules - sys.stdlib_module_names - {"sequencematch"}


def test_what_scripts_import_is_declared_and_in_their_environments():
    """Declared by the base of pyproject.toml, or by one of its extras."""
    distributions = metadata.packages_distributions()
    declared = {requirement.name.lower() for requirement in requirements()} | {"pydantic-core"}  # pydantic pins that
    by_environment = scripts_by_environment()
    assert set(by_environment) == {file.name for file in (ROOT / "envs").glob("*.yaml")}
    for environment, scripts in by_environment.items():
        parts = yaml.safe_load((ROOT / "envs" / environment).read_text())["dependencies"]
        there = required(pins(next(part["pip"] for part in parts if isinstance(part, dict))))
        for script in sorted(scripts):
            for module in sorted(third_party_imports(script)):
                names = {name.lower().replace("_", "-") for name in distributions[module]}
                assert names & there, f"envs/{environment} lacks {module}, which src/{script}.py imports"
                assert names & declared, f"src/{script}.py imports {module}, which pyproject.toml does not declare"
