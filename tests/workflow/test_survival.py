"""What befalls a long run: kills, full and read-only disks, damaged files. The next run deals with it."""

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial

import psutil
import pytest
from support import reduced
from support.workflow import ROOT, launcher, wait_for

RESUME = ".resume/mul"

# When a file appears: what is killed. The whole run happens between the first of these and the last.
MOMENTS = [
    ("logs/mul/make_dataset.log", "everything"),
    ("mul/data", "snakemake"),
    ("logs/mul/noised/eta=0/seed=1/inject_noise.log", "job"),
    (f"{RESUME}/base/seed=1/*/metrics.csv", "everything"),
    ("mul/pretrain_bc/eta=0.2/seed=1/model", "snakemake"),
    (f"{RESUME}/*/eta=0.2/seed=1/*/step-*.json", "snakemake"),
    ("mul/*/eta=0.2/seed=1/samples.jsonl", "everything"),
    ("mul/*/eta=0.2/seed=1/metrics.json", "snakemake"),
    ("logs/tables/table6.log", "job"),
]


@pytest.mark.long
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(uninterrupted, tmp_path):
    tree = reduced.make_tree(tmp_path)
    run = start(tree)
    for pattern, victim in MOMENTS:
        wait_for(partial(reached, tree, pattern, run), 120)
        assert run.poll() is None, f"over before {pattern}: {(tree / 'output').read_text()}"
        if victim == "snakemake":
            run.kill()
        else:
            kill(tree, only_jobs=victim == "job")
        if victim != "job":
            run.wait()
            run = start(tree)
    run.wait(120)
    reduced.run(tree)
    assert reduced.content(tree) == reduced.content(uninterrupted)
    leftovers = [file for file in (tree / reduced.RESULTS).rglob(".*") if file.suffix in (".partial", ".replaced")]
    assert not leftovers and not list((tree / reduced.RESULTS / RESUME).rglob("*.pt"))


def reached(tree, pattern, run):
    return any((tree / reduced.RESULTS).glob(pattern)) or run.poll() is not None


def start(tree):
    with (tree / "output").open("a") as output:
        return subprocess.Popen(
            launcher(reduced.TABLE, config=reduced.SETTINGS), cwd=tree, stdout=output, stderr=output
        )


def kill(tree, only_jobs):
    """SIGKILL to the run's scripts, or to all that belongs to the run."""
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            ours = process.environ().get("SEQUENCEMATCH_RUN") == str(tree)
            if ours and (not only_jobs or re.search(r"(python|warm_start.py) src/\w+.py", words)):
                process.kill()
        except psutil.Error:
            continue


@contextmanager
def tmpfs(folder, options):
    """A small file system of its own on ``folder``."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.long
def test_a_full_disk_costs_nothing_that_was_done(uninterrupted, tmp_path):
    """It fills up while the run goes on: what is too small from the start is told before."""
    tree = reduced.make_tree(tmp_path)
    with tmpfs(tree / "results", "size=60M"), (tree / "told").open("w+") as told:
        command = launcher(reduced.TABLE, config=reduced.SETTINGS)
        with subprocess.Popen(command, cwd=tree, stdout=told, stderr=told) as process:
            wait_for((tree / reduced.RUNS / "base/seed=1/model").exists)
            filler = tree / "results/filler"
            filler.write_bytes(bytes(shutil.disk_usage(filler.parent).free - 100_000))
        told.seek(0)
        words = told.read()
        assert process.returncode == 1 and "Traceback" not in words
        assert "error: writing the results failed, the disk is full; fix that and run this again" in words
        before = reduced.content(tree)
        assert before and before.items() <= reduced.content(uninterrupted).items()
        filler.unlink()
        reduced.run(tree)
        assert reduced.content(tree) == reduced.content(uninterrupted)


@pytest.mark.long
def test_a_truncated_file_is_named_and_made_again_once_deleted(uninterrupted, tmp_path):
    """The job that reads it fails in one sentence with what to delete; the run after that finishes."""
    tree = reduced.make_tree(tmp_path)
    results = tree / reduced.RESULTS
    subprocess.run(["cp", "-a", uninterrupted / "results", uninterrupted / ".snakemake", tree], check=True)
    file = results / "mul/base/seed=1/model/lm.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = ("--forcerun", str(reduced.RESULTS / "mul/pretrain_bc/eta=0.2/seed=1/model"))
    failed = reduced.run(tree, *again, status=1)
    told = failed.stdout + failed.stderr
    match = re.search(r"error: .* was changed .*: delete '(results/\S+)'", told)
    assert match and "Traceback" not in told, told
    subprocess.run(["rm", "-r", tree / match[1]], check=True)
    reduced.run(tree, *again)
    assert reduced.content(tree) == reduced.content(uninterrupted)


def shell_rules():
    """Name and text of every rule that runs a command."""
    for file in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for name, text in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", file.read_text(), re.S | re.M):
            if "    shell:" in text:
                yield name, text


def test_every_rule_keeps_a_log_and_a_benchmark_and_tries_again():
    rules = dict(shell_rules())
    assert len(rules) >= 9
    for name, text in rules.items():
        for directive in ("log", "benchmark", "conda", "threads", "resources", "params"):
            assert re.search(rf"^    {directive}:", text, re.M), f"rule {name} has no {directive}"
        assert re.search(r"^        (command|training)\(", text, re.M), f"rule {name} does not write its log"
        assert re.search(r"^        \*\*JOBS\.resources\(", text, re.M), f"rule {name} asks for no resources"
        assert "tasks=" not in text, f"rule {name}: SLURM would start it more than once per GPU"


def test_results_are_written_atomically():
    """No module opens a result for writing: files.py does, and what fills a folder that it then renames."""
    inside_an_atomic_folder = re.compile(r"^\s+(with )?\(?(folder|partial|target|output) / ")
    for file in sorted((ROOT / "src").rglob("*.py")):
        if file.name in ("files.py", "checkpoints.py"):
            continue
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if re.search(r"\.write_(text|bytes)\(|open\([^)]*[\"'][wax]", line):
                assert inside_an_atomic_folder.match(line), f"{file}:{number} writes in place: {line.strip()}"
