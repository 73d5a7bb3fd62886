"""What people type: plain Snakemake beside make, names of runs, slips, and what a run says at its start and end."""

import os
import sys

import pytest
from snakemake.cli import parse_args
from support.workflow import ROOT, copy_tree, run_in, snakemake

from sequencematch.config.run_messages import made


def parsed(*words):
    return vars(parse_args(words)[1])


def test_plain_snakemake_finds_what_results_rely_on(monkeypatch):
    monkeypatch.chdir(ROOT)
    plain, ours = parsed("--cores", "2"), parsed("--cores", "2", "--profile", "profiles/default")
    for option in ("profile", "max_jobs_per_timespan"):  # the latter is an object without equality
        del plain[option], ours[option]
    assert plain == ours


OTHERWISE = """
rerun-triggers: [mtime]
rerun-incomplete: false
ignore-incomplete: true
keep-incomplete: true
touch: true
max-checksum-file-size: 1
"""


@pytest.mark.parametrize(("name", "executor"), [("default", None), ("slurm", "slurm"), ("generic", "cluster-generic")])
def test_profiles_state_what_results_rely_on_whatever_another_of_the_user_says(name, executor, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "config.yaml").write_text(OTHERWISE)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(tmp_path))
    assert parsed("--cores", "2")["profile"] == [str(tmp_path)]
    chosen = parsed("--profile", f"profiles/{name}")
    assert {str(trigger) for trigger in chosen["rerun_triggers"]} == {
        "code",
        "input",
        "mtime",
        "params",
        "software-env",
    }
    assert chosen["rerun_incomplete"] and chosen["max_checksum_file_size"] == 10**9
    assert not any(chosen[option] for option in ("ignore_incomplete", "keep_incomplete", "touch"))
    if executor:  # nor is it limited by the default profile
        assert (chosen["executor"], chosen["jobs"], chosen["cores"]) == (executor, 100, None)
        assert chosen["latency_wait"] == 60 and not chosen["resources"]


LAST = """
import threading

onsuccess:
    print("LIMITER", workflow.scheduler.job_rate_limiter)
    print("TIMERS", sum(isinstance(thread, threading.Timer) for thread in threading.enumerate()))
"""


@pytest.mark.slow
def test_changed_settings_have_a_name_of_their_own_or_say_what_they_replace(tmp_path):
    """And no timer wakes the scheduler."""
    tree = copy_tree(tmp_path)
    first = snakemake(tree, "table6", config=["scale=smoke"])
    assert "Made in " in first.stdout and "  results/smoke/tables/table6.md\n" in first.stdout
    assert "will be replaced" not in first.stderr
    changed = ["scale=smoke", "objective={alpha: 0.1}"]
    table = tree / "results/smoke/tables/table6.md"
    before = table.stat().st_mtime_ns
    named = snakemake(tree, "table6", config=[*changed, "name=try1"])
    assert "will be replaced" not in named.stderr
    assert "  results/try1/tables/table6.md\n" in named.stdout and table.stat().st_mtime_ns == before
    with (tree / "Snakefile").open("a") as file:
        file.write(LAST)
    unnamed = snakemake(tree, "table6", config=changed)
    assert "LIMITER None\nTIMERS 0\n" in unnamed.stdout
    assert "results in results/smoke/ will be replaced" in unnamed.stderr and "make NAME=try1" in unnamed.stderr
    assert table.stat().st_mtime_ns > before


def test_the_end_of_a_run_names_what_is_new_alone(tmp_path):
    (tmp_path / "tables").mkdir()
    for name, time in (("old.md", 50), ("new.md", 150), ("new.csv", 150)):
        (tmp_path / "tables" / name).touch()
        os.utime(tmp_path / "tables" / name, (time, time))
    assert made(tmp_path, 100, 130) == f"Made in 30 s:\n  {tmp_path}/tables/new.md"
    assert made(tmp_path, 200, 800) == "Done in 10 min."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tabel6"], "error: there is no target 'tabel6'; did you mean 'table6'? (make help lists them)"),
        (["reprot"], "error: there is no target 'reprot'; did you mean 'report'? (make help lists them)"),
        (["why", "CONFIG=objective={alpha: 0.1}"], "error: '0.1}' is no setting: write name=value, in quotes where"),
        (["why", "CONFIG=seeds=[1] alpha"], "error: 'alpha' is no setting: write name=value, in quotes where"),
        (["CONFIG='seeds=[1]"], "error: CONFIG opens a quote that it does not close: "),
        (["why", "TARGET=tabel6"], "error: target 'tabel6' is unknown; did you mean 'table6'?"),
        (["why", "NAME=paper"], "error: NAME is 'paper', which is taken by results of the project: "),
        (["why", "NAME=reference"], "error: NAME is 'reference', which is taken by results of the project: "),
        (["why", "NAME=../x"], "error: NAME is '../x', but must consist of letters, digits, _ and - "),
    ],
)
def test_a_slip_is_answered_in_one_sentence(words, sentence):
    given = ["SCALE=smoke", f"BIN={os.path.dirname(sys.executable)}", f"PYTHON={sys.executable}"]
    command = ["make", "--old-file=Makefile", *words, *given, "SETUP=Makefile"]  # set up as it is: this environment
    done = run_in(ROOT, command, status=2)
    said, *rest = done.stderr.splitlines()
    assert said.startswith(sentence), done.stderr
    assert all(line.startswith("make: ***") for line in rest) and not done.stdout


def test_help_lists_every_target():
    done = run_in(ROOT, ["make", "help"])
    for target in ("table6", "report", "map", "why", "verify", "clean-results", "NAME="):
        assert target in done.stdout
