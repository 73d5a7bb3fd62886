"""Copies of the project in which Snakemake runs, with stubs instead of scripts."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "profiles", "workflow", "envs", "config.yaml", "src", "docs")
STUB = """
import sys, time
from pathlib import Path

sampled = ("--repair", "--showcase") if "sample.py" in sys.argv[0] else ()
for option in ("--output", "--csv", "--markdown", "--html", "--text", "--figure", *sampled):
    if option in sys.argv:
        path = Path(sys.argv[sys.argv.index(option) + 1])
        if path.suffix:
            path.write_text("stub")
        else:
            path.mkdir(parents=True, exist_ok=True)
            for name in ("content", "divergence.png"):
                (path / name).write_text("stub")
while Path("wait").exists():
    Path("waiting").touch()
    time.sleep(0.05)
sys.exit()
"""


def load_script(path):
    """A script as a module: ``load_script("src/finetune.py")``. It finds the modules beside it."""
    file = ROOT / path
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_tree(target):
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, target / part)
    for script in (target / "src").glob("*.py"):
        script.write_text(STUB + script.read_text())
    # A stub needs no torch: nothing is to import it beforehand.
    (target / "workflow/launcher/warm/python").write_text('#!/bin/sh\nexec "$SEQUENCEMATCH_PYTHON" "$@"\n')
    return target


def run_in(tree, command, status=0, **environment):
    """Run a command in a tree, and hold it to its exit status (None: any)."""
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env=os.environ | environment)
    assert status in (None, done.returncode), done.stdout + done.stderr
    return done


def snakemake(tree, *words, config=(), **options):
    """Run Snakemake in a tree; ``config``: the changes after ``--config``."""
    words = [*words, *(["--config", *config] if config else [])]
    done = run_in(tree, [sys.executable, "-m", "snakemake", "--cores", "2", *words], **options)
    # Snakemake's first line names the profile that it has found.
    done.stderr = re.sub(r"^Using .*profile.*\n", "", done.stderr)
    return done


def launcher(*words, script="run", config=("scale=smoke",)):
    """The command line by which ``make`` runs a script of the launcher."""
    return [sys.executable, f"workflow/launcher/{script}.py", *words, "--config", *config]


def launch(tree, *words, script="run", config=("scale=smoke",), **options):
    """Run a script of the launcher in a tree."""
    return run_in(tree, launcher(*words, script=script, config=config), **options)


def is_running(process):
    """Whether it runs: one that has ended may stay in the table of processes, where nobody asks for its status."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# Plans again and again in one process: starting Snakemake takes longer than a plan.
PLANNER = """
import json, sys
sys.path.insert(0, "workflow/launcher")
import why

for line in sys.stdin:
    with why.planned(json.loads(line)) as workflow:
        rules = {}
        for rule, causes in why.causes_by_rule(workflow).items():
            jobs = {}
            for (sentence, subject), concerned in causes.items():
                name = sentence.partition(" ")[0] if " -> " in sentence else sentence
                if sentence != why.AFTER:
                    jobs.setdefault(subject or name, set()).update(concerned)
            rules |= {rule: {name: len(concerned) for name, concerned in jobs.items()}} if jobs else {}
    print(json.dumps(rules), flush=True)
"""


class Planner:
    """The plan for targets of a tree: by rule, what makes its jobs run again, and how many.

    That is a setting or option, a file, or a sentence; not a rule that runs before, so what only follows is left out.
    """

    def __init__(self, tree, targets=(), config=()):
        self.targets, self.config = targets, config
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", PLANNER], cwd=tree, text=True, **pipes)

    def __call__(self, *words, config=()):
        changes = [*self.config, *config]
        asked = [*self.targets, *words, *(["--config", *changes] if changes else [])]
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, "planning failed; its error is above"
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
