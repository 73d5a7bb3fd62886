"""Packages and model folders in the plan, by the real Snakemake with stubs as scripts."""

import os

import pytest
from support.workflow import Planner, copy_tree, snakemake

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


def test_what_tasks_need_of_packages_is_fetched_and_made_once(tmp_path):
    """A network, pairs and documents; the folders and files that rules make need not be there before."""
    tree = copy_tree(tmp_path)
    targets, config = ("table5", "table6", "table8"), [*FETCHED, "model={source: corpora/net/model}"]
    with Planner(tree, targets, config) as plan:
        planned = plan()
        rules = ("fetch_package", "convert_model", "extract_pairs", "extract_documents")
        assert [planned[rule]["never run"] for rule in rules] == [3, 1, 1, 1]
        snakemake(tree, *targets, config=config)
        assert plan() == {}
        # Another digest is another package; a licence is on record; a setting of conversion alone converts again.
        assert plan(config=["sources={net: {bos: x}}"]) == {"convert_model": {"bos": 1}}
        (tree / "src/sequencematch/data/markup.py").open("a").write("\nEDITED = 1\n")
        assert plan() == {"extract_pairs": {"src/sequencematch/data/markup.py": 1}}


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
    snakemake(tree, *targets, config=config)
    with Planner(tree, targets, config) as plan:
        for file in (tree / "network").iterdir():
            os.utime(file)
        assert plan() == {}
        (tree / "judge/model.safetensors").write_text("other")
        assert plan() == {"judge": {"judge/model.safetensors": 1}}
        (tree / "network/model.safetensors").write_text("other")
        assert plan() == {"pretrain_base": {"network/model.safetensors": 2}}  # the judge then runs after it
        (tree / "network/tokenizer.json").write_text("{ }")
        assert plan() == {"train_tokenizer": {"network/tokenizer.json": 2}}
