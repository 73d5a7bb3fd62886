"""What runs again after which edit, planned by the real Snakemake, and what ``make why`` and ``make status`` say.

The tables below are written by hand. To add a script or a setting, add its line: for a setting a new value and the jobs
that read it. Jobs that follow from those need no line.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.workflow import PARTS, ROOT, Planner, copy_tree, snakemake, wait_for

from sequencematch.config.experiment import SECTIONS, Config
from sequencematch.settings.data import Arithmetic, Source, Text, Translation

pytestmark = pytest.mark.slow

TARGETS = ("all", "report", "overheads", "map")
# One seed and one noise level; a table of each family, one method of every loss.
CONFIG = (
    "scale=smoke",
    "seeds=[1]",
    "tables={table5: {methods: [bc]}, table6: {methods: [mle, uls, bc, sm]}, table8: {methods: [sm]}, "
    "phrases: {task: translation, methods: [bc]}, deletion_head: null}",
    "rollouts={buffer: 200}",
)
JOBS = {
    "make_dataset": 3,  # of mul, translation, text; so most numbers are sums of three
    "train_tokenizer": 3,
    "encode_examples": 3,
    "inject_noise": 6,  # eta 0 and 0.2
    "pretrain_base": 3,
    "pretrain_bc": 3,
    "finetune": 5 + 1 + 2,  # mle, uls, bc, sm, sm_js; bc; sm and mle as its judge
    "sample": 5 + 1 + 1,
    "judge": 1,
    "score": 5 + 1 + 1,
    "make_table": 5,
    "plot_motivating_example": 1,
    "plot_learning_curves": 3,
    "plot_masks": 3,
    "plot_backspaces": 3,
    "draw_rules": 1,
    "make_report": 1,
    "make_map": 1,
    "measure_overheads": 2 + 6,  # steps; all other parts of table3, sampling of table4
    "make_overhead_table": 2,
    "make_benchmark_table": 6,
    "plot_growth": 1,
}
# Rules and those that read what they make. A rule has the name of its script, but for DATASET_SCRIPTS.
READERS = {
    "make_dataset": {"train_tokenizer", "encode_examples"},
    "train_tokenizer": {
        *("encode_examples", "inject_noise", "pretrain_base", "pretrain_bc", "finetune", "sample", "judge"),
        *("plot_masks", "plot_backspaces"),
    },
    "encode_examples": {"inject_noise", "sample", "judge", "score", "plot_backspaces", "make_report"},
    "inject_noise": {"pretrain_base", "pretrain_bc", "finetune", "plot_masks"},
    "pretrain_base": {"pretrain_bc", "finetune", "sample", "plot_learning_curves"},
    "pretrain_bc": {"finetune"},
    "finetune": {"sample", "judge", "score"},
    "sample": {"judge", "score", "make_table"},
    "judge": {"score"},
    "score": {"make_table", "plot_learning_curves", "plot_backspaces", "make_report", "make_map"},
    "make_table": {"make_report"},
    "plot_motivating_example": {"make_report"},
    "plot_learning_curves": {"make_report"},
    "plot_masks": {"make_report"},
    "plot_backspaces": {"make_report"},
    "draw_rules": {"make_report"},
    "make_report": set(),
    "make_map": set(),
    "measure_overheads": {"make_overhead_table", "make_benchmark_table", "plot_growth"},
    "make_overhead_table": set(),
    "make_benchmark_table": set(),
    "plot_growth": set(),
}
# Scripts of the rule make_dataset, and the families of tasks whose rows they make.
DATASET_SCRIPTS = {"make_arithmetic": {"arithmetic"}, "make_translation": {"translation"}, "make_text": {"text"}}
# Rules that tasks of some families alone have.
ONLY = {
    "judge": {"text"},
    "make_map": {"arithmetic"},  # the smoke scale's map is of mul
}
FAMILIES = {"arithmetic", "translation", "text"}
# Scripts of packages and graphs, which the smoke scale has none of; tests/workflow/test_packages.py plans the former.
ELSEWHERE_RUN = {"fetch_package", "convert_model", "extract_pairs", "extract_documents", "make_graphs"}

# Groups of scripts for the table below.
EVERY = JOBS.keys() - {"make_dataset"} | DATASET_SCRIPTS.keys()
DATA = {*DATASET_SCRIPTS}
TRAINING = {"pretrain_base", "pretrain_bc", "finetune"}
COSTS = {"measure_overheads"}  # what times it
NETWORK = TRAINING | {"sample", "judge"} | COSTS  # what runs the model
COST_TABLES = {"make_overhead_table", "make_benchmark_table", "plot_growth"}
WORDS = {"make_table", "make_map", "make_report"} | COST_TABLES  # what writes names and numbers
SCORES = WORDS | {"plot_learning_curves", "plot_backspaces"}  # what reads scores
CURVES = {"plot_learning_curves", "plot_backspaces"}
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
    "results/bleu.py": WORDS | CURVES | {"score"},
    "results/deletions.py": WORDS | {"plot_backspaces", "plot_masks", "sample"},
    "results/paper_tables.csv": WORDS,
    "results/variants.py": WORDS | CURVES | {"plot_motivating_example"},
    "seeding.py": NETWORK | WORDS | DATA | {"inject_noise"},
    "settings/families.py": WORDS | CURVES | {"encode_examples", "sample", "judge", "score"},
    "settings/losses.py": TRAINING | COSTS | COST_TABLES | SCORES | {"plot_motivating_example"},
    "settings/map.py": {"make_map"},
    "settings/section.py": OPTIONS | {"make_map"},
    "store/hub.py": TOKENS | {"train_tokenizer"},
    "trace.py": {"plot_masks"},
}

# Section (of a task's data: its family), changes one by one, jobs that read each. 0: a downstream rule that does not
# rerun. Last field: families concerned (default: all).
ALL_TRAINING = {"pretrain_base": 3, "pretrain_bc": 3, "finetune": 8}
CLEAN = {"pretrain_base": 0}  # base models are trained on sequences without noise
ROWS = {"make_dataset": 1}
ALL_COSTS = {"measure_overheads": 8}
COSTS_OF_ONE = {"measure_overheads": 2, "plot_growth": 0}  # table4; table3 has its own value
MATHS, PAIRS, TEXTS = {"arithmetic"}, {"translation"}, {"text"}
SETTINGS = [
    ("arithmetic", "generator: list_prime_factors; entropy: [1.0, 2.5]; train: 201; validation: 21", ROWS, MATHS),
    ("arithmetic", "test: 21; seed: 5", ROWS, MATHS),
    ("translation", "source: phrases; languages: [fr, en]; train: 41; validation: 11; test: 11", ROWS, PAIRS),
    ("translation", "seed: 5", ROWS, PAIRS),
    ("translation", "vocabulary: 301", {"train_tokenizer": 1}, PAIRS),
    ("translation", "longest: 47", {"encode_examples": 1}, PAIRS),
    ("text", "source: python_topics; train: 9; validation: 3; test: 3; seed: 5", ROWS, TEXTS),
    ("text", "vocabulary: 301", {"train_tokenizer": 1}, TEXTS),
    ("text", "prompt: 7; continuation: 15", {"encode_examples": 1}, TEXTS),
    ("sources", "pairs: {kind: generated, name: phrases}; pairs: {train: [config.yaml, Snakefile]}", ROWS, PAIRS),
    ("sources", "pairs: {validation: [config.yaml, Snakefile]}", ROWS, PAIRS),
    ("sources", "pairs: {test: [config.yaml, Snakefile]}; pairs: {separator: ' = '}", ROWS, PAIRS),
    ("sources", "pairs: {licence: another}; pairs: {digest: abc}", ROWS, PAIRS),
    ("sources", "pairs: {client: npm, version: '2', sha256: abc, inside: [a], bos: b}", {}),  # of packages alone
    ("sources", "passages: {configuration: plain}; passages: {revision: abc}", ROWS, TEXTS),
    ("noise", "kind: random", CLEAN | {"inject_noise": 1, "sample": 5}, MATHS),
    ("noise", "run: 2.0", CLEAN | {"inject_noise": 3}),
    ("noise", "{rest: model, run: 2}", CLEAN | {"inject_noise": 3, "draw_rules": 1}),
    ("noise", "draws: 2", CLEAN | {"inject_noise": 3}),
    ("model", "source: corpora/network", {"train_tokenizer": 3, "encode_examples": 3, "pretrain_base": 3} | ALL_COSTS),
    ("model", "revision: abc; trust_remote_code: true", {"pretrain_base": 3} | ALL_COSTS),
    ("model", "layers: 2; width: 32; heads: 4", {"pretrain_base": 3} | COSTS_OF_ONE),
    ("model", "context: 129", {"encode_examples": 2, "pretrain_base": 2} | COSTS_OF_ONE, MATHS | PAIRS),
    ("model", "initial_spread: 0.05; rope_theta: 99", {"pretrain_base": 3} | COSTS_OF_ONE),
    ("model", "precision: bfloat16; {quantise: nf4, lora_rank: 2}; lora_alpha: 8", {"pretrain_base": 3} | ALL_COSTS),
    ("model", "deletions: 2", {"pretrain_base": 3, "inject_noise": 3} | ALL_COSTS),
    ("model", "gradient_checkpointing: true", {"pretrain_base": 3} | ALL_COSTS),
    ("optimiser", "batch: 128", {"pretrain_base": 2, "pretrain_bc": 2, "finetune": 7}, MATHS | TEXTS),
    ("optimiser", "micro_batch: 16", {"pretrain_base": 2, "pretrain_bc": 2, "finetune": 7}, MATHS | TEXTS),
    ("optimiser", "learning_rate: 0.1; weight_decay: 0.2; clip: 2; warmup: 3; dropout: 0.1", ALL_TRAINING),
    ("schedule", "base_steps: 5", {"pretrain_base": 3}),
    ("schedule", "pretrain_steps: 5", {"pretrain_bc": 3, "finetune": 5}),  # not mle and uls
    ("schedule", "steps: 9; decay_start: 5", {"pretrain_bc": 3, "finetune": 8}),
    ("schedule", "beta_final: 0.1; beta_steps: 3", {"finetune": 3}),
    ("schedule", "bkspc_start: mean", {"pretrain_bc": 3, "finetune": 5}),
    ("schedule", "metrics_every: 3; validate_every: 3; checkpoint_every: 4", ALL_TRAINING),
    ("objective", "divergence: chi2", {"finetune": 2}),  # sm_js has its own
    ("objective", "alpha: 0.5", {"finetune": 3}),
    ("objective", "gamma: 0.5", {"finetune": 2}, MATHS),
    ("objective", "{weighting: uniform, value_from: both}; value_from: both", {"finetune": 3}),
    ("objective", "imitate_prompt: true", {"pretrain_base": 2, "pretrain_bc": 2, "finetune": 6}, MATHS | PAIRS),
    ("objective", "c: 0.25; beta_mix: 0.25; js_delta: 0.25", {"finetune": 3}),
    ("objective", "imitate_noise: true", {"pretrain_bc": 3, "finetune": 5}),
    ("objective", "uls_ngram: 4; uls_weight: 0.5", {"finetune": 1, "make_map": 0}, MATHS),
    ("objective", "label_smoothing: 0.1", ALL_TRAINING),
    ("objective", "iq_weight: 0.5", {}, set()),  # no table of the smoke scale has this loss
    ("rollouts", "buffer: 201; seen: 3; share_prompts: true", {"finetune": 4}),
    ("rollouts", "generate: 33", {"finetune": 3}, MATHS),
    ("rollouts", "temperature: 0.5; top_p: 0.5; top_k: 5", {"finetune": 4}),
    ("rollouts", "max_actions: 17", {"finetune": 3}, MATHS),
    ("rollouts", "concurrent: true; staleness: 7", {"finetune": 4}),
    ("evaluation", "split: validation; batch: 7", {"sample": 7, "judge": 1}),
    ("evaluation", "answers: 3", {"sample": 6}, MATHS | TEXTS),
    ("evaluation", "max_actions: 25", {"sample": 5}, MATHS),
    ("evaluation", "decodings: [greedy, perturbed=0.2]", {"sample": 6}, MATHS | PAIRS),
    ("evaluation", "corruptions: [random]", {"sample": 5}, MATHS),
    ("evaluation", "error_depths: [1]; error_decodings: [greedy]; error_kind: model", {"sample": 7}),
    ("evaluation", "shown: 3", {"sample": 1}, TEXTS),
    ("evaluation", "judge: corpora/network", {"judge": 1}, TEXTS),
    # One method's, or one task's.
    ("methods", "sm_js: {objective: {alpha: 0.5}}", {"finetune": 1, "sample": 1}, MATHS),
    ("methods", "bc: {evaluation: {batch: 7}}", {"sample": 2}, MATHS | PAIRS),
    ("tasks", "mul: {objective: {alpha: 0.5}}", {"finetune": 2}, MATHS),
    ("tables", "table6: {title: New}", {"make_table": 1}, MATHS),
    ("tables", "table8: {title: New}", {"make_table": 1}, TEXTS),
    ("map", "title: New", {"make_map": 1}, MATHS),
    ("map", "readings: [sampled, perturbed=0.2]", {"sample": 4, "make_map": 1}, MATHS),
    # Seed 2 judges what seed 1 wrote; of noised examples, only the first seed's at the highest level are drawn.
    ("seeds", "[1, 2]", ALL_TRAINING | {"inject_noise": 6, "sample": 7, "judge": 2, "make_table": 5, "plot_masks": 0}),
    (
        "etas",
        "[0.2, 0.3]",
        CLEAN
        | {"inject_noise": 3, "pretrain_bc": 3, "finetune": 5, "sample": 5, "judge": 1}
        | {"make_table": 5, "plot_masks": 3, "make_map": 0},  # the map has its own level
    ),
    ("overheads", "table3: {title: New}; table3: {compared: arithmetic}", {"make_overhead_table": 1}),
    ("overheads", "table3: {measured: {repeats: 3}}", {"measure_overheads": 6}),
    ("overheads", "table4: {model: {layers: 3}}", COSTS_OF_ONE),
    ("jobs", "train: {threads: 2, mem_mb: 3000}", {}),
]
CHANGES = [(section, change, *read) for section, changes, *read in SETTINGS for change in changes.split("; ")]
TASK_OF = {"arithmetic": "mul", "translation": "translation", "text": "text"}  # whose data a family's lines change
ELSEWHERE = {"scale", "extends", "tracker"}  # another scale has results of its own; no result depends on the tracker


def rules_of(scripts):
    """The rules that call the scripts."""
    return {"make_dataset" if script in DATASET_SCRIPTS else script for script in scripts}


def families_of(scripts):
    """The families of the tasks that the scripts are for."""
    return set().union(*((DATASET_SCRIPTS | ONLY).get(script, FAMILIES) for script in scripts))


def with_readers(rules, families=FAMILIES, spared=()):
    """The rules, and all that run again because those do, if tasks of these families alone are concerned."""
    there = {rule for rule in READERS if ONLY.get(rule, FAMILIES) & families} - set(spared)
    reached, waiting = set(), set(rules)
    while waiting:
        reached |= waiting
        waiting = set().union(*(READERS[rule] for rule in waiting)) & there - reached
    return reached


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree in which everything has been made (by stubs)."""
    tree = copy_tree(tmp_path_factory.mktemp("finished"))
    done = snakemake(tree, *TARGETS, "--config", *CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
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


def library(tree):
    return [f for f in sorted((tree / "src/sequencematch").rglob("*")) if f.is_file() and f.suffix != ".pyc"]


def test_the_tables_name_every_script_and_setting():
    """A new one fails here until its line says what it concerns."""
    scripts = {file.stem for file in (ROOT / "src").glob("*.py")} - ELSEWHERE_RUN
    assert not rules_of(scripts) - READERS.keys(), "READERS does not say which rules read what these scripts make"
    assert READERS.keys() == JOBS.keys() == rules_of(scripts), "READERS or JOBS names scripts that are not there"
    named = {line[0] for line in SETTINGS}
    assert not Config.model_fields.keys() - named - ELSEWHERE, (
        "SETTINGS has no line for these keys of the configuration"
    )
    models = {"arithmetic": Arithmetic, "translation": Translation, "text": Text, "sources": Source}
    for section, model in {**models, **SECTIONS}.items():
        changes = (line[1] for line in CHANGES if line[0] == section)
        values = map(yaml.safe_load, changes)
        if section == "sources":
            values = (settings for source in values for settings in source.values())
        changed = set().union(*values) | {"family"} & model.model_fields.keys()  # another family is another task
        assert changed == model.model_fields.keys(), f"SETTINGS must have a line for each setting of '{section}'"


def test_real_dry_runs_plan_the_same(tree, plan):
    """The plan of one process is that of Snakemake's own command."""
    with edited(tree / "src/sequencematch/data/noise.py"):
        done = snakemake(tree, *TARGETS, "--dry-run", "--quiet", "rules", "--config", *CONFIG)
        assert done.returncode == 0
        listed = [line.split() for line in done.stdout.splitlines()]
        counts = {words[0]: int(words[1]) for words in listed if len(words) == 2 and words[0] in JOBS}
        assert counts == {rule: found["jobs"] for rule, found in plan().items()} != {}


EDITS = {f"sequencematch/{name}": users for name, users in USED_BY.items()} | {f"{s}.py": {s} for s in sorted(EVERY)}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_file_reruns_the_rules_whose_scripts_use_it(tree, plan, name):
    with edited(tree / "src" / name):
        found = plan()
    assert found.keys() == with_readers(rules_of(EDITS[name]), families_of(EDITS[name]))
    assert {rule for rule in found if f"src/{name} changed" in found[rule]["causes"]} == rules_of(EDITS[name])


@pytest.mark.parametrize("line", CHANGES, ids=lambda line: f"{line[0]} {line[1]}")
def test_a_changed_setting_reruns_the_jobs_that_read_it(plan, line):
    section, change, jobs, families = line if len(line) == 4 else (*line, FAMILIES)
    change = change if change[0] in "{[" else f"{{{change}}}"
    task = TASK_OF.get(section)
    found = plan(config=[f"tasks={{{task}: {{data: {change}}}}}" if task else f"{section}={change}"])
    spared = {rule for rule in jobs if not jobs[rule]}
    assert found.keys() == with_readers(jobs.keys() - spared, families, spared)
    assert {rule: found[rule]["jobs"] for rule in jobs.keys() - spared} | dict.fromkeys(spared, 0) == jobs


def test_another_tracker_reruns_nothing(plan):
    assert plan(config=["tracker=tensorboard"]) == {}


def test_a_changed_command_reruns_its_rule(tree, plan):
    with edited(tree / "workflow/rules/sample.smk", by=lambda text: text.replace("score {params", "./score {params")):
        found = plan()
    assert found.keys() == with_readers({"score", "draw_rules"})  # the graph is drawn of that file
    assert found["score"]["causes"] == ["the rule's command changed"]


def test_time_stamps_comments_docstrings_and_formatting_rerun_nothing(tree, plan):
    modules = [file for file in library(tree) if file.suffix == ".py"]
    with edited(*modules, by=lambda text: text.replace('"""', '"""In other words: ', 1) + "# More words.\n"):
        assert plan() == {}
    with edited(*modules, by=lambda text: text):
        form = [sys.executable, "-m", "ruff", "format", "--quiet", "--isolated", "--line-length", "60", *modules]
        subprocess.run(form, check=True)
        assert plan() == {}
    files = [file for file in tree.rglob("*") if file.is_file() and ".snakemake" not in file.relative_to(tree).parts]
    with edited(
        *(file for file in files if "results" not in file.parts and file.suffix != ".pyc"), by=lambda text: text
    ):
        assert plan() == {}
    samples = tree / "results/smoke/mul/bc/eta=0.2/seed=1/samples.jsonl"
    with edited(samples, by=lambda text: text):
        assert plan() == {}
    with edited(samples, by=lambda text: text + "more"):
        found = plan()
    assert found.keys() == with_readers({"score"}, MATHS)
    assert found["score"]["causes"] == [f"{samples.relative_to(tree)} changed"]


# A file of src/sequencematch, a piece of it, another, and the scripts that run again.
REWORDED = [
    ("settings/explain.py", "did you mean", "do you mean", set()),
    ("settings/training.py", "weight of the causal-entropy term", "weight of entropy", set()),
    ("settings/training.py", 'entropy term", gt=0)', 'entropy term", gt=0.001)', TRAINING | COSTS),
    ("settings/training.py", 'setting(0.95, "discount"', 'setting(0.96, "discount"', TRAINING | COSTS),
    ("settings/losses.py", "maximum likelihood", "greatest likelihood", set()),
    ("store/hub.py", "is made by Python code", "is made by code", set()),
    ("results/quantities.py", '"repair rate"', '"rate of repair"', SCORES),  # a table shows it
]


@pytest.mark.parametrize(("name", "old", "new", "scripts"), REWORDED)
def test_a_sentence_reruns_nothing_and_a_bound_or_default_its_readers(tree, plan, name, old, new, scripts):
    file = tree / "src/sequencematch" / name
    assert old in file.read_text()
    with edited(file, by=lambda text: text.replace(old, new)):
        assert plan().keys() == with_readers(rules_of(scripts), families_of(scripts))


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
    assert f"Nothing would run.\n{sum(JOBS.values())} results without a record" in why(clone)
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
    tree = copy_tree(tmp_path / "tree")
    conda = ("--software-deployment-method", "conda")
    done = snakemake(tree, *TARGETS, *conda, "--config", *CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    with Planner(tree, (*TARGETS, *conda), CONFIG) as plan:
        assert plan() == {}
        for environment, rules in {
            "data": {"make_dataset", "train_tokenizer", "encode_examples"},
            "train": {"inject_noise", "sample", "plot_masks"} | TRAINING | COSTS,
            "judge": {"judge"},
            "report": SCORES | COST_TABLES | {"score", "draw_rules", "plot_motivating_example"},
        }.items():
            with edited(tree / f"envs/{environment}.yaml", by=lambda text: text.replace("numpy==", "numpy>=")):
                found = plan()
            assert found.keys() == with_readers(rules, families_of(rules))
            cause = f"envs/{environment}.yaml, or how it is deployed, changed"
            assert {rule for rule in found if cause in found[rule]["causes"]} == rules


def why(tree, *config, targets=TARGETS):
    command = [sys.executable, "workflow/launcher/why.py", *targets, "--cores", "2", "--config", *CONFIG, *config]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_make_why_names_files_settings_and_missing_results_and_what_they_cost(tree):
    assert why(tree) == "Nothing would run.\n"
    assert why(tree, "tables={table8: {task: mul}}", targets=["draw_rules"]).count("families") == 1
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
    command = [sys.executable, "workflow/launcher/status.py", "table6", "--config", *CONFIG]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


BARS = "sm:   0%|  | 0/200 [00:00<?, ?step/s]\rsm:  33%|##  | 66/200 [02:10<04:24,  1.97s/step, loss=2.1]"
METRICS = "step,learning_rate,loss,validation_loss\n25,0.004,2.5,1.25\n50,0.002,2.123456,\n"


def test_make_status_tells_how_far_a_run_is_while_it_goes_on(tmp_path):
    tree = copy_tree(tmp_path)
    command = [sys.executable, "workflow/launcher/run.py", "table6", "--cores", "2", "--config", *CONFIG]
    assert subprocess.run(command, cwd=tree, capture_output=True).returncode == 0
    results, run = tree / "results/smoke", "mul/sm/eta=0.2/seed=1"
    shutil.rmtree(results / run)
    shutil.rmtree(results / "tables")
    (tree / "wait").touch()
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
