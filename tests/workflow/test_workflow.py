"""The workflow, through the real Snakemake: its jobs, runs that are killed, and configurations that are wrong.

The scripts of a copied tree are preceded by a stub that only creates their outputs, so that whole runs take seconds.
"""

import ast
import re
import signal
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain

import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from support.workflow import ROOT, copy_tree, snakemake, wait_for

from sequencematch.store.code_digest import SOURCE, import_closure

ALL_JOBS = {
    "make_dataset": 4,  # mul, translation, text, phrases
    "train_tokenizer": 4,
    "encode_examples": 4,
    "inject_noise": 14,  # eta 0 and 0.2 (0 alone for phrases), two seeds
    "pretrain_base": 8,
    "pretrain_bc": 6,
    "finetune": 18,  # mle, bc, sm, sm_js of mul; mle, sm of translation and text; mle of phrases
    "sample": 18,
    "judge": 4,
    "score": 18,
    "make_table": 5,
    "plot_motivating_example": 1,
    "all": 1,
}


def planned(tree):
    """Rule names and job counts of a dry run of the smoke scale."""
    done = snakemake(tree, "--dry-run", "--config", "scale=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    listed = re.search(r"Job stats:\n.*?\n-+ .*?\n(.*?)total", done.stdout + done.stderr, re.S)
    return {line.split()[0]: int(line.split()[1]) for line in listed[1].splitlines()} if listed else {}


@pytest.mark.slow
def test_what_is_planned_is_made_and_then_nothing_is_left_to_do(tmp_path):
    tree = copy_tree(tmp_path)
    assert planned(tree) == ALL_JOBS
    done = snakemake(tree, "--config", "scale=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(tree) == {}


@pytest.mark.slow
def test_a_killed_run_is_taken_up_again_without_help(tmp_path):
    """SIGKILL leaves a lock, incomplete outputs and a job that goes on; the next run deals with all three."""
    tree = copy_tree(tmp_path)
    command = [sys.executable, "workflow/launcher/run.py", "table6", "--cores", "2", "--config", "scale=smoke"]
    (tree / "wait").touch()
    first = subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((tree / "waiting").exists)
    second = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert second.stderr.startswith("error: another run is going on in this folder")

    jobs = [
        p for p in psutil.Process(first.pid).children(recursive=True) if "make_arithmetic.py" in " ".join(p.cmdline())
    ]
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert jobs and all(job.is_running() for job in jobs) and any((tree / ".snakemake" / "locks").iterdir())
    (tree / "wait").rename(tree / "waited")
    third = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert third.returncode == 0, third.stdout + third.stderr
    assert not any(job.is_running() and job.status() != psutil.STATUS_ZOMBIE for job in jobs)
    assert (tree / "results/smoke/tables/table6.csv").exists()


@pytest.mark.slow
def test_a_job_with_several_gpus_starts_a_process_for_each(tmp_path):
    """Also: the number of GPUs changes nothing that would make finished results again."""
    tree = copy_tree(tmp_path)
    script = tree / "src" / "pretrain_base.py"
    record = 'import os, sys\nopen("process" + os.environ.get("RANK", ""), "w").write(" ".join(sys.argv))\n'
    script.write_text(record + script.read_text())
    words = ["results/smoke/mul/base/seed=1/model", "--no-hooks", "--resources", "gpu=2", "--config", "scale=smoke"]
    done = snakemake(tree, *words, "jobs={train: {gpu: 2}}")  # without the hook that looks for GPUs
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(file.name for file in tree.glob("process*")) == ["process0", "process1"]
    assert (tree / "process1").read_text().endswith("--gpus 2")
    again = snakemake(tree, *words)
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["default", "gpu", "paper"])
def test_every_scale_has_a_plan(scale, tmp_path):
    done = snakemake(copy_tree(tmp_path), "--dry-run", "all", "--config", f"scale={scale}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"results/{scale}/tables/table7.md" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("scale=smokee", "error: scale 'smokee' is unknown; did you mean 'smoke'?"),
        ("etas=[1.5]", "error: command line: etas is '1.5', but must be a list, each a number above 0 and below 1"),
        ("rollouts={buffer: 8}", "rollouts.buffer is 8, but must be at least optimiser.batch (64)"),
    ],
)
def test_bad_configuration_ends_the_real_command_in_one_sentence(config, sentence, tmp_path):
    """One of each kind; ``tests/config/refusals.txt`` has all that is refused."""
    tree = copy_tree(tmp_path)
    done = snakemake(tree, "--config", config)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: ") and sentence in done.stderr
    assert not (tree / "results").exists()


def pins(requirements):
    return dict(re.fullmatch(r"([\w-]+)==(\S+)", requirement).groups() for requirement in requirements)


def test_the_lock_alone_holds_exact_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [Requirement(words) for words in [*project["dependencies"], *chain(*extras.values())]]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = pins(line for line in lines if not line.startswith("#"))
    for requirement in declared:
        assert not any(part.operator == "==" for part in requirement.specifier), f"{requirement} belongs to the lock"
        if requirement.name != project["name"]:
            assert requirement.specifier.contains(locked[requirement.name.lower()]), requirement
    assert not [name for name in locked if "nvidia" in name or "cuda" in name or "+" in locked[name]]
    for file in (ROOT / "envs").glob("*.yaml"):
        packages = next(d["pip"] for d in yaml.safe_load(file.read_text())["dependencies"] if isinstance(d, dict))
        assert {name.lower(): version for name, version in pins(packages).items()}.items() <= locked.items()


def test_every_import_of_the_library_is_declared():
    """By the base, or by one of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        Requirement(words).name.lower()
        for words in [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    }
    declared.add("pydantic-core")  # pydantic asks for an exact version of it
    providers = metadata.packages_distributions()
    for script in (file.stem for file in (ROOT / "src").glob("*.py")):
        for module in third_party_imports(script):
            names = {name.lower().replace("_", "-") for name in providers[module]}
            assert names & declared, f"src/{script}.py imports {module}, which pyproject.toml does not declare"


DATASET_SCRIPTS = ("make_arithmetic", "make_translation", "make_text")


def scripts_by_environment():
    """The scripts that run in each environment, as the rules name them."""
    found = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            environment = re.search(r"envs/(\w+\.yaml)", rule)[1]
            named = re.search(r"call=rule_parameter\((JOBS\.\w+|\"\w+\")", rule)[1]
            scripts = DATASET_SCRIPTS if named == "JOBS.dataset_script" else [named.strip('"')]
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
                waiting += [r for r in metadata.requires(name) or () if "extra ==" not in r]
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


def test_environments_hold_what_their_scripts_import():
    distributions = metadata.packages_distributions()
    by_environment = scripts_by_environment()
    assert set(by_environment) == {file.name for file in (ROOT / "envs").glob("*.yaml")}
    for environment, scripts in by_environment.items():
        parts = yaml.safe_load((ROOT / "envs" / environment).read_text())["dependencies"]
        there = required(pins(next(part["pip"] for part in parts if isinstance(part, dict))))
        for script in sorted(scripts):
            for module in sorted(third_party_imports(script)):
                names = {name.lower().replace("_", "-") for name in distributions[module]}
                assert names & there, f"envs/{environment} lacks {module}, which src/{script}.py imports"
