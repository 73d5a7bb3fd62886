"""What runs again after which edit, planned by the real Snakemake, and what ``make why`` and ``make status`` say.

The tables here and in ``support/changes.py`` are written by hand: a new setting gets a line there. Jobs that follow
from others need no line: that they run is Snakemake's part.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from support.changes import ALL_COSTS, ALL_TRAINING, BASE, COSTS_OF_ONE, ROWS, SETTINGS
from support.workflow import PARTS, Planner, copy_tree, launch, launcher, snakemake, wait_for

from sequencematch.config.experiment import SECTIONS, Config
from sequencematch.settings.data import Arithmetic, Source, Text, Translation

pytestmark = pytest.mark.slow

TARGETS = ("all", "report", "overheads", "map")
# One seed and one noise level; a table of each family, one method of every loss. Three tasks: mul, translation, text.
CONFIG = (
    "scale=smoke",
    "seeds=[1]",
    "tables={table5: {methods: [bc]}, table6: {methods: [mle, uls, bc, sm]}, table8: {methods: [sm]}, "
    "phrases: {task: translation, methods: [bc]}, deletion_head: null}",
    "rollouts={buffer: 200}",
)

# Groups of rules for the table below. Most have the name of their script.
DATA = {"make_arithmetic", "make_translation", "make_text"}
TRAINING = {"pretrain_base", "pretrain_bc", "finetune"}
COSTS = {"measure_overheads"}  # what times it
NETWORK = TRAINING | {"sample", "judge"} | COSTS  # what runs the model
COST_TABLES = {"make_overhead_table", "make_benchmark_table", "make_growth_table"}
WORDS = {"make_table", "make_map", "make_report"} | COST_TABLES  # what writes names and numbers
SCORES = WORDS | {"plot_learning_curves", "plot_backspaces"}  # what reads scores
RUN_FIGURES = {"plot_learning_curves", "plot_backspaces", "plot_masks", "plot_motivating_example"}
OPTIONS = DATA | NETWORK | {"train_tokenizer", "encode_examples", "inject_noise"}  # what takes settings as options
TOKENS = NETWORK | {"encode_examples", "inject_noise", "plot_masks", "plot_backspaces", "make_report"}

# Files of src/sequencematch whose readers may surprise, and these scripts; workflow/uses.py prints those of every file.
USED_BY = {
    "cli.py": set(),
    "config/checks.py": set(),
    "core.py": NETWORK | {"plot_masks"},
    "data/arms.py": {"inject_noise", "sample"} | COSTS,
    "data/noise.py": {"inject_noise", "sample"} | COSTS,
    "data/pairs.py": {"make_translation"},
    "export/custom_generate.py": set(),
    "model/likely_noise.py": {"sample"},
    "results/bleu.py": WORDS | {"score"},
    "results/deletions.py": WORDS | RUN_FIGURES | {"sample"},
    "results/measured.py": WORDS | COSTS,
    "results/metrics.py": {"score"},
    "results/paper_tables.csv": WORDS | RUN_FIGURES,
    "seeding.py": NETWORK | WORDS | DATA | {"inject_noise"},
    "settings/families.py": WORDS | RUN_FIGURES | {"encode_examples", "sample", "judge", "score"},
    "settings/losses.py": TRAINING | COSTS | WORDS | RUN_FIGURES,
    "settings/map.py": WORDS | RUN_FIGURES,
    "settings/section.py": OPTIONS | WORDS | RUN_FIGURES,
    "store/hub.py": TOKENS | {"train_tokenizer"},
    "trace.py": {"plot_masks"},
}

RUNS_AND_TABLES = {"judge": 1, "make_table": 5, "plot_learning_curves": 3, "plot_backspaces": 3, "make_report": 1}
# Changes that are planned one by one, and the jobs that run again because of them.
ALONE = {
    "model={source: corpora/network}": BASE | ALL_COSTS | {"train_tokenizer": 3, "encode_examples": 3},
    "evaluation={judge: corpora/network}": {"judge": 1},  # and no model of the task's own is trained for it
    "tasks={translation: {data: {source: phrases}}}": ROWS,
    "tasks={text: {data: {source: python_topics}}}": ROWS,
    "tasks={mul: {objective: {alpha: 0.5}}}": {"finetune": 2},
    "sources={pairs: {kind: generated, name: phrases}}": ROWS,
    "methods={sm_js: {objective: {alpha: 0.5}}}": {"finetune": 1},
    "methods={bc: {evaluation: {batch: 7}}}": {"sample": 2},
    "tables={table6: {title: New}, table8: {title: New}}": {"make_table": 2, "make_report": 1},
    "map={title: New}": {"make_map": 1},
    "map={readings: [sampled, perturbed=0.2]}": {"sample": 4, "make_map": 1},
    "overheads={table3: {title: New, compared: arithmetic}}": {"make_overhead_table": 1},
    "overheads={table3: {measured: {repeats: 3}}}": {"measure_overheads": 6},
    "overheads={table4: {model: {layers: 3}}}": COSTS_OF_ONE,
    # Seed 2 judges what seed 1 wrote; of noised examples, only the first seed's at the highest level are drawn.
    "seeds=[1, 2]": ALL_TRAINING | RUNS_AND_TABLES | {"inject_noise": 6, "sample": 7, "score": 7, "make_map": 1},
    "etas=[0.2, 0.3]": RUNS_AND_TABLES
    | {"inject_noise": 3, "pretrain_bc": 3, "finetune": 5, "sample": 5, "score": 5, "plot_masks": 3},
    "jobs={train: {threads: 2, mem_mb: 3000}}": {},
    "tracker=tensorboard": {},
}
FAMILIES = {"arithmetic": ("mul", Arithmetic), "translation": ("translation", Translation), "text": ("text", Text)}
ELSEWHERE = {"scale", "extends"}  # another scale has results of its own


def group_of(section):
    """The part of an option's name that says whose setting it is."""
    return "data" if section in FAMILIES else "source" if section in ("pairs", "passages") else section


def test_the_tables_name_every_setting():
    """A new one fails here until its line says what it concerns."""
    words = [word.partition("=") for word in ALONE]
    named = {section for section, _, _ in SETTINGS} | {section for section, _, _ in words}
    assert not Config.model_fields.keys() - named - ELSEWHERE, "no line for these keys of the configuration"
    changed = {}
    for section, values, _ in SETTINGS:
        changed.setdefault(section, set()).update(yaml.safe_load(f"{{{values}}}"))
    sources = changed.pop("pairs") | changed.pop("passages") | {"kind", "name"}
    for family in FAMILIES:
        changed[family] |= {"family"} if family == "arithmetic" else {"family", "source"}  # of another task; in ALONE
    changed["model"] |= {"source"}
    changed["evaluation"] |= {"judge"}
    models = {name: model for name, (_, model) in FAMILIES.items()} | SECTIONS
    assert sources == Source.model_fields.keys()
    assert changed == {section: set(model.model_fields) for section, model in models.items()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree in which everything has been made (by stubs)."""
    tree = copy_tree(tmp_path_factory.mktemp("finished"))
    snakemake(tree, *TARGETS, config=CONFIG)
    return tree


@pytest.fixture(scope="module")
def plan(tree):
    with Planner(tree, TARGETS, CONFIG) as planner:
        assert planner() == {}
        yield planner


@contextlib.contextmanager
def edited(*files, by=lambda text: text + "\nEDITED = 1\n"):
    """Edits files, and puts back what stood there, with its time stamps."""
    before = [(file, file.read_text(), file.stat()) for file in files]
    try:
        for file, text, _ in before:
            file.write_text(by(text))
        yield
    finally:
        for file, text, stat in before:
            file.write_text(text)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_an_edited_file_reruns_the_rules_whose_scripts_use_it(tree, plan):
    files = {f"src/sequencematch/{name}": rules_of(users) for name, users in USED_BY.items()}
    files["src/score.py"] = {"score"}
    with edited(*(tree / file for file in files)):
        found = plan()
    assert files == {file: {rule for rule in found if file in found[rule]} for file in files}
    assert set().union(*found.values()) <= files.keys()


def rules_of(scripts):
    """The rules that call the scripts."""
    return {"make_dataset" if script in DATA else script for script in scripts}


def test_a_changed_setting_reruns_the_jobs_that_read_it(plan):
    """All of them changed at once: each is told apart by its name."""
    changes, expected = {}, {}
    for section, values, jobs in SETTINGS:
        values = yaml.safe_load(f"{{{values}}}")
        place = {"data": ("tasks", FAMILIES.get(section, [""])[0], "data"), "source": ("sources", section)}
        inside = changes
        for name in place.get(group_of(section), (section,)):
            inside = inside.setdefault(name, {})
        inside |= values
        for name in values:
            expected.setdefault(f"{group_of(section)}.{name}", Counter()).update(jobs)
    found = plan(config=[f"{section}={values}" for section, values in changes.items()])
    assert expected == {n: {rule: names[n] for rule, names in found.items() if n in names} for n in expected}


@pytest.mark.parametrize("change", ALONE)
def test_a_change_reruns_the_jobs_that_it_concerns(plan, change):
    assert {rule: max(causes.values()) for rule, causes in plan(config=[change]).items()} == ALONE[change]


def test_a_plan_follows_what_runs_before_and_is_that_of_snakemakes_own_command(tree, plan):
    with edited(tree / "src/sequencematch/data/noise.py"):
        done = snakemake(tree, *TARGETS, "--dry-run", "--quiet", "rules", config=CONFIG)
        listed = [line.split() for line in done.stdout.splitlines()]
        counts = {words[0]: int(words[1]) for words in listed if len(words) == 2 and words[1].isdigit()}
        assert counts.pop("total") == sum(counts.values())
        planned = why(tree)
    assert {rule: f"{n} job{'s'[: n > 1]}" for rule, n in counts.items() if rule not in TARGETS} == {
        line.partition(" ")[0]: line.partition("(")[2].partition(",")[0] for line in planned.splitlines()[:-1]
    }


def test_a_changed_command_reruns_its_rule(tree, plan):
    with edited(tree / "workflow/rules/sample.smk", by=lambda text: text.replace("score {params", "./score {params")):
        assert plan() == {"score": {"the rule's command changed": 7}}


def test_time_stamps_comments_docstrings_and_formatting_rerun_nothing(tree, plan):
    modules = sorted((tree / "src/sequencematch").rglob("*.py"))
    with edited(*modules, by=lambda text: text.replace('"""', '"""In other words: ', 1) + "# More words.\n"):
        form = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated", "--line-length", "60", *modules]
        subprocess.run(form, check=True)
        assert plan() == {}
    files = [file for file in tree.rglob("*") if file.is_file() and ".snakemake" not in file.relative_to(tree).parts]
    samples = "results/smoke/mul/bc/eta=0.2/seed=1/samples.jsonl"
    sources = [file for file in files if "results" not in file.parts and file.suffix != ".pyc"]
    with edited(tree / samples, *sources, by=lambda text: text):
        assert plan() == {}
    with edited(tree / samples, by=lambda text: text + "more"):
        assert plan() == {"score": {samples: 1}}


def test_a_fresh_clone_elsewhere_reruns_nothing(tree, tmp_path):
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for words in (["init", "--quiet"], ["add", *PARTS], ["commit", "--quiet", "--message", "A"]):
        subprocess.run([*git, *words], cwd=tree, check=True)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", tree, clone], check=True)
    cloned = list(clone.rglob("*"))
    for file in cloned:
        os.utime(file, (1, 1))  # without records, times are all there is to go by
    shutil.copytree(tree / "results", clone / "results")
    assert why(clone).startswith("Nothing would run.\n7") and "results without a record" in why(clone)
    for file in cloned:
        os.utime(file)
    shutil.copytree(tree / ".snakemake", clone / ".snakemake", dirs_exist_ok=True)
    assert why(clone) == "Nothing would run.\n"


STUB_CONDA = """#!/bin/sh
case "$1 $2" in
    "--version "*) echo conda 25.1.1 ;;
    "info --json") echo '{"conda_prefix": "'$(dirname $(dirname $0))'", "platform": "linux-64"}' ;;
    "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
    "env create") for last; do true; done; mkdir -p $last ;;
esac
"""


def test_an_edited_environment_reruns_the_rules_that_run_in_it(tmp_path, monkeypatch):
    """Snakemake's own conda deployment; only the conda command is a stand-in, whose environments are empty."""
    command = tmp_path / "conda/bin/conda"
    command.parent.mkdir(parents=True)
    command.write_text(STUB_CONDA)
    command.chmod(0o755)
    (command.parent / "activate").touch()
    monkeypatch.setenv("PATH", f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    (tmp_path / "tree").mkdir()
    tree, words = copy_tree(tmp_path / "tree"), ("results/smoke/mul/tokenizer", "--software-deployment-method", "conda")
    snakemake(tree, *words, config=CONFIG)
    with Planner(tree, words, CONFIG) as plan:
        assert plan() == {}
        with edited(tree / "envs/data.yaml", by=lambda text: text.replace("numpy==", "numpy>=")):
            cause = {"envs/data.yaml, or how it is deployed, changed": 1}
            assert plan() == {"make_dataset": cause, "train_tokenizer": cause}


def why(tree, *config, targets=TARGETS):
    done = launch(tree, *targets, "--cores", "2", script="why", config=[*CONFIG, *config])
    assert done.stderr == ""
    return done.stdout


def test_make_why_names_files_settings_and_missing_results_and_what_they_cost(tree):
    assert why(tree) == "Nothing would run.\n"
    results = tree / "results/smoke"
    benchmarks = list((results / "benchmarks").rglob("finetune.tsv"))
    missing = results / "mul/mle/eta=0/seed=1/samples.jsonl"
    kept = missing.rename(missing.with_suffix(".kept"))
    never = (results / "benchmarks/mul/bc/eta=0.2/seed=1/sample.tsv").rename(tree / "kept.tsv")
    settings = ["objective={alpha: 0.5}", "methods={sm_js: {evaluation: {batch: 7}}}"]
    slow = edited(*benchmarks, by=lambda text: text.splitlines()[0] + "\n120.0" + "\t0" * 9 + "\n")
    with slow, edited(tree / "src/sequencematch/training/losses.py"):
        lines = why(tree, *settings, targets=["table6", "divergences"]).splitlines()
    kept.rename(missing)
    never.rename(results / "benchmarks/mul/bc/eta=0.2/seed=1/sample.tsv")
    found = {line.split()[0]: line for line in lines}
    assert list(found) == ["pretrain_base", "pretrain_bc", "finetune", "sample", "score", "make_table", "19"]
    assert found["finetune"] == (
        "finetune (5 jobs, 10 min): src/sequencematch/training/losses.py changed; "
        "objective.alpha 0.03 -> 0.5 (method sm, sm_js)"
    )
    samples = str(missing.relative_to(tree))
    assert f": {samples} missing (method mle); " in found["sample"] and ", 1 not measured yet" in found["sample"]
    assert "evaluation.batch 500 -> 7 (method sm_js)" in found["sample"]
    assert found["score"].endswith(": after finetune, sample") and found["make_table"].endswith(": after score")
    assert lines[-1].startswith(
        "19 jobs would run: about 5 min on 2 cores by their last runs, and 1 job not measured yet."
    )


def status(tree):
    done = launch(tree, "table6", script="status", config=CONFIG)
    assert done.stderr == ""
    return done.stdout


BARS = "sm:   0%|  | 0/200 [00:00<?, ?step/s]\rsm:  33%|##  | 66/200 [02:10<04:24,  1.97s/step, loss=2.1]"
METRICS = "step,learning_rate,loss,validation_loss\n25,0.004,2.5,1.25\n50,0.002,2.123456,\n"


def test_make_status_tells_how_far_a_run_is_while_it_goes_on(tree, tmp_path):
    tree = shutil.copytree(tree, tmp_path / "tree")
    results, run = tree / "results/smoke", "mul/sm/eta=0.2/seed=1"
    shutil.rmtree(results / run)
    shutil.rmtree(results / "tables")
    (tree / "wait").touch()
    command = launcher("table6", "--cores", "2", config=CONFIG)
    with subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as going_on:
        wait_for((tree / "waiting").exists)
        (results / "logs" / run / "finetune.log").write_text(BARS)
        metrics = results / ".resume" / run / "abc/metrics.csv"
        metrics.parent.mkdir(parents=True)
        metrics.write_text(METRICS)
        shown = status(tree)
        (tree / "wait").unlink()
    assert going_on.returncode == 0
    lines = [line.split() for line in shown.splitlines()]
    assert shown.startswith("smoke: 16 of 20 jobs done; a run is going on\n")
    assert lines[-1][:5] == ["finetune", "task=mul", "method=sm", "eta=0.2", "seed=1"]
    assert lines[-1][-6:] == ["66/200", "04:24", "50", "2.123", "1.25", "0.002"]
    assert status(tree).startswith("smoke: 20 of 20 jobs done; no run is going on\n")
