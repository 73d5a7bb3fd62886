"""The workflow as a module of another one, whose Snakefile lies in the project's folder."""

import pytest
from support.workflow import PARTS, ROOT, snakemake

OUTER = """
module sequencematch:
    snakefile: "Snakefile"
    config: {"scale": "smoke"}

use rule * from sequencematch as sequencematch_*

onstart:
    sequencematch.onstart()

onsuccess:
    print("LIMITER", workflow.scheduler.job_rate_limiter)

rule mine:
    default_target: True
    input: "results/smoke/mul/examples"
    output: "mine.txt"
    shell: "ls {input} > {output}"
"""
TARGETS = ("all", "report", "map", "overheads")


@pytest.fixture
def tree(tmp_path):
    for part in PARTS:
        (tmp_path / part).symlink_to(ROOT / part)
    (tmp_path / "outer.smk").write_text(OUTER)
    return tmp_path


@pytest.mark.slow
def test_all_targets_can_be_asked_for_under_the_module_s_prefix(tree):
    named = [f"sequencematch_{target}" for target in TARGETS]
    done = snakemake(tree, "--snakefile", "outer.smk", "--dry-run", "--", *named)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = ("make_table", "make_report", "make_map", "measure_overheads", "finetune", "judge")
    assert all(f"rule sequencematch_{rule}:" in done.stdout + done.stderr for rule in rules)


@pytest.mark.slow
def test_a_rule_outside_gets_what_the_module_makes(tree):
    done = snakemake(tree, "--snakefile", "outer.smk")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train" in (tree / "mine.txt").read_text()
    assert "LIMITER None" in done.stdout  # the module's start was called


def test_from_another_folder_one_sentence_says_where_it_runs(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "Snakefile").write_text(OUTER.replace('"Snakefile"', f'"{tree}/Snakefile"'))
    done = snakemake(elsewhere, "--dry-run")
    assert done.returncode == 1
    assert f"error: run Snakemake in the project's folder, where its Snakefile is: cd {tree}" in done.stderr
