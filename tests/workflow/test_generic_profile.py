"""The profile for other batch systems, with a `qsub` that runs each job in the background and notes its request."""

import os

import pytest
from support.workflow import copy_tree, launch

METRICS = "results/smoke/mul/mle/eta=0/seed=1/metrics.json"
QSUB = """#!/bin/sh
echo "$@" >> asked
for script in "$@"; do :; done
nohup setsid sh "$script" > .snakemake/generic_logs/log 2>&1 &
echo $!
"""


@pytest.mark.slow
def test_jobs_go_through_the_submit_script(tmp_path):
    tree = copy_tree(tmp_path)
    (tree / "bin").mkdir()
    for name, script in {"qsub": QSUB, "qdel": "#!/bin/sh\nkill $@\n"}.items():
        (tree / "bin" / name).write_text(script)
        (tree / "bin" / name).chmod(0o755)
    words = (METRICS, "--profile", "profiles/generic", "--latency-wait", "5")
    config, path = ["scale=smoke", "jobs={train: {gpu: 1, threads: 2}}"], f"{tree / 'bin'}:{os.environ['PATH']}"
    launch(tree, *words, config=config, PATH=path)
    assert (tree / METRICS).exists()
    asked = (tree / "asked").read_text().splitlines()
    # Data with its tokenizer and examples; noise; base model; fine-tuning; samples with their scores.
    assert len(asked) == 5
    gpus = [line for line in asked if "-l gpu=1" in line]
    assert len(gpus) == 2 and all("-pe smp 2 -l h_vmem=1000M -l h_rt=3600" in line for line in gpus)
    assert "-pe smp 1 -l h_vmem=2000M -l h_rt=5400" in asked[0]
