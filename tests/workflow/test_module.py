"""The workflow used from another folder: as a module, and deployed from a host of git repositories."""

import re
import subprocess

import pytest
from support.workflow import ROOT, copy_tree, snakemake

OUTER = f"""
module sequencematch:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: {{"scale": "smoke"}}

use rule * from sequencematch as sequencematch_*

onstart:
    sequencematch.onstart()

onsuccess:
    print("LIMITER", workflow.scheduler.job_rate_limiter)

rule mine:
    default_target: True
    input: "results/smoke/mul/examples"
    output: "mine.txt"
    shell: "ls {{input}} > {{output}}"
"""
# What `snakedeploy deploy-workflow` writes.
DEPLOYED = """
configfile: "config/config.yaml"

module sequencematch:
    snakefile:
        github("somebody/sequencematch", path="workflow/Snakefile", tag="v1")
    config:
        config

use rule * from sequencematch
"""
TARGETS = ("all", "report", "map", "overheads")


@pytest.fixture
def outer(tmp_path):
    (tmp_path / "Snakefile").write_text(OUTER)
    return tmp_path


@pytest.mark.slow
def test_all_targets_can_be_asked_for_under_the_module_s_prefix(outer):
    named = [f"sequencematch_{target}" for target in TARGETS]
    done = snakemake(outer, "--dry-run", "--", *named)
    rules = ("make_table", "make_report", "make_map", "measure_overheads", "finetune", "judge")
    assert all(f"rule sequencematch_{rule}:" in done.stdout + done.stderr for rule in rules)


@pytest.mark.slow
def test_a_rule_outside_gets_what_the_module_makes(outer):
    done = snakemake(outer)
    assert "train" in (outer / "mine.txt").read_text()
    assert "LIMITER None" in done.stdout  # the module's start was called
    assert sorted(path.name for path in outer.iterdir()) == [".snakemake", "Snakefile", "mine.txt", "results"]


@pytest.mark.slow
def test_a_deployed_workflow_runs_the_code_of_its_tag(tmp_path):
    """Snakemake fetches rule files one by one; the host is a clone in its cache."""
    source, cache, here = (tmp_path / name for name in ("source", "cache", "deployed"))
    for folder in (source, here / "config", here / "workflow"):
        folder.mkdir(parents=True)
    copy_tree(source)
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", "x"], ["tag", "v1"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    hosted = cache / "snakemake/snakemake/source-cache/snakemake-git-cache/github.com/somebody/sequencematch"
    subprocess.run(["git", "clone", "--quiet", "--bare", source, hosted], check=True)
    (here / "workflow/Snakefile").write_text(DEPLOYED)
    (here / "config/config.yaml").write_text(
        (ROOT / "config/config.yaml").read_text() + "tasks: {mul: {data: {train: 7}}}"
    )
    target = "results/smoke/text/data"  # its data are files of the workflow
    done = snakemake(here, target, "--printshellcmds", config=["scale=smoke"], XDG_CACHE_HOME=str(cache))
    said = done.stdout + done.stderr
    assert (here / target / "content").exists()
    assert re.search(
        r"python \S+/\.snakemake/project/[0-9a-f]{40}/src/make_text\.py .*/workflow/scales/smoke/hub", said
    )
