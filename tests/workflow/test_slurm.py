"""The pipeline on a real SLURM cluster (of one node, started here), and what it asks such a cluster for."""

import hashlib
import os
import re
import shutil
import subprocess

import pytest
from support import reduced
from support.slurm_cluster import missing, slurm_cluster
from support.workflow import copy_tree, launch, launcher, snakemake, wait_for

PROFILE = ("--profile", "profiles/slurm")
# No accounting here, two cores, and no network between the node and the files.
HERE = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
METRICS = "results/smoke/mul/mle/eta=0/seed=1/metrics.json"
# Holds a fine-tuning job at a late step, and says so; one that resumes from its checkpoint takes fewer steps.
HOLD = """
import os, sys, time
if sys.orig_argv[1:2] == ["src/finetune.py"]:
    import torch
    step, taken = torch.optim.AdamW.step, 0
    def held(*arguments, **options):
        global taken
        taken += 1
        if taken == 19:
            with open("held-" + sys.argv[sys.argv.index("--loss") + 1], "w") as file:
                file.write(os.environ["SLURM_JOB_ID"])
            time.sleep(600)
        return step(*arguments, **options)
    torch.optim.AdamW.step = held
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    with slurm_cluster(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.mark.long
def test_a_seed_of_the_smoke_scale_ends_with_the_same_bits_as_on_this_machine(cluster, smoke, tmp_path):
    """Every stage of each family; two runs of a group at a time, because the node has two cores."""
    tree = reduced.make_tree(tmp_path)
    words = (*PROFILE, *HERE, "--group-components", "evaluate=2")
    config = ["scale=smoke", "seeds=[1]", "tables={table5: {methods: [sm]}, table6: {methods: [mle, sm]}}"]
    launch(tree, "table5", "table6", "table8", *words, config=config)
    made, expected = reduced.content(tree), reduced.content(smoke)
    # Tables, and the judge's verdicts on texts, are of all seeds.
    runs = {name for name in made if "/seed=1/" in name and not ("/text/" in name and name.endswith("metrics.json"))}
    assert len(runs) > 35 and all(made[name] == expected[name] for name in runs)
    assert any(name.startswith("results/smoke/tables/table8") for name in made)


@pytest.mark.long
def test_jobs_that_are_cancelled_or_run_out_of_time_come_back_and_end_with_the_same_bits(
    cluster, uninterrupted, tmp_path
):
    """BC's job is cancelled, SequenceMatch's overruns its minute; both go on from their checkpoints, given two."""
    tree = reduced.make_tree(tmp_path)
    (tree / "hold").mkdir()
    (tree / "hold/sitecustomize.py").write_text(HOLD)
    environment = os.environ | {"PYTHONPATH": f"{tree / 'hold'}:{os.environ.get('PYTHONPATH', '')}"}
    settings = [*reduced.SETTINGS, "jobs={train: {runtime: 1}}"]
    words = launcher(reduced.TABLE, *PROFILE, *HERE, "--group-components", "evaluate=2", config=settings)
    with (tree / "output").open("w") as output:
        process = subprocess.Popen(words, cwd=tree, stdout=output, stderr=output, env=environment)
        try:
            wait_for(lambda: (tree / "held-bc").exists() or process.poll() is not None, 240)
            assert process.poll() is None, (tree / "output").read_text()
            subprocess.run(["scancel", (tree / "held-bc").read_text()], check=True)
            process.wait(240)
        finally:
            process.kill()
    told = (tree / "output").read_text()
    assert process.returncode == 0, told
    assert (tree / "held-sm").exists()
    for state in ("CANCELLED", "TIMEOUT"):
        assert f"SLURM status is: '{state}" in told, told
    for method in ("bc", "sm"):
        log = tree / reduced.RESULTS / f"logs/mul/{method}/eta=0.2/seed=1/finetune.log"
        assert "continuing from step 21" in log.read_text()
    assert reduced.content(tree) == reduced.content(uninterrupted)


@pytest.mark.long
def test_the_log_of_a_failed_job_is_shown(cluster, tmp_path):
    tree = copy_tree(tmp_path)
    (tree / "src/make_arithmetic.py").write_text("raise SystemExit('error: a sentence of the job')\n")
    done = launch(tree, "results/smoke/mul/data", *PROFILE, *HERE, status=1)
    assert "\nerror: a sentence of the job\n" in done.stdout + done.stderr


@pytest.mark.long
def test_jobs_that_a_killed_run_left_in_the_queue_are_cancelled(cluster, tmp_path):
    tree = reduced.make_tree(tmp_path)
    digest = hashlib.sha256(str(tree).encode()).hexdigest()[:12]
    for name in (f"sequencematch-{digest}_of_the_killed_run", "another"):
        subprocess.run(["sbatch", "--wrap", "sleep 600", "--job-name", name], cwd=tree, check=True)
    done = reduced.run(tree, *PROFILE, *HERE, "--dry-run")
    assert re.match(r"cancelling SLURM job \d+, left behind by an earlier run\n", done.stderr)
    listed = subprocess.run(["squeue", "--noheader", "--format=%j"], capture_output=True, text=True).stdout.split()
    assert listed == ["another"]
    subprocess.run(["scancel", "--name=another"], check=True)


# A cluster that notes what it is asked for and refuses.
STANDINS = {
    "sbatch": 'for word in "$@"; do case $word in --wrap*) ;; *) printf "%s " "$word";; esac; done >> asked\n'
    "echo >> asked\necho refused >&2\nexit 1",
    "squeue": "",
    "sinfo": "echo 'main*'",
    "sacct": "exit 1",
    "scontrol": "echo 'MinJobAge = 300 sec'; echo 'MaxArraySize = 1000'",
}


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """A tree whose scripts are stubs, with a SLURM in its bin/ that refuses every job."""
    tree = copy_tree(tmp_path_factory.mktemp("refusing"))
    (tree / "bin").mkdir()
    for name, script in STANDINS.items():
        (tree / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tree / "bin" / name).chmod(0o755)
    snakemake(tree, METRICS, config=["scale=smoke"])
    (tree / "results").rename(tree / "kept")
    return tree


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "job", "asked"),
    [
        ("make_dataset", "", "-t 90 --mem 2000 --ntasks=1 --cpus-per-task=1"),  # tokenizer, examples: times add up
        ("finetune", "train: {gpu: 1}", "-t 60 --mem 2000 --cpus-per-task=1 --gpus=1"),
        ("sample", "sample: {gpu: 1, threads: 4}", "-t 40 --mem 2000 --cpus-per-task=4 --gpus=1"),  # scoring too
    ],
)
def test_requests_say_what_a_job_needs(refusing, rule, job, asked):
    """A GPU where one is needed and none elsewhere; for the second attempt, twice the memory and time."""
    tree, path = refusing, f"{refusing / 'bin'}:{os.environ['PATH']}"
    # As finished, whatever a refused run before left unfinished.
    for folder in ("results", ".snakemake/incomplete"):
        shutil.rmtree(tree / folder, ignore_errors=True)
    subprocess.run(["cp", "-r", "--preserve", tree / "kept", tree / "results"], check=True)
    (tree / "asked").unlink(missing_ok=True)
    settings = ["scale=smoke", f"jobs={{{job}}}"]
    launch(tree, METRICS, *PROFILE, "--forcerun", rule, config=settings, status=1, PATH=path)
    requests = (tree / "asked").read_text().splitlines()
    assert all(re.search(rf"--comment rule_\w*{rule}", line) for line in requests)
    first, second = (line.split(" -p main ")[1].replace(f" -D {tree}", "").strip() for line in requests)
    assert first == asked
    doubled = re.sub(r"(-t|--mem) (\d+)", lambda match: f"{match[1]} {2 * int(match[2])}", asked)
    assert second == doubled
