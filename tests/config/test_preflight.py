"""The check before any work: every gap is named, once, with what to do, and no token is ever shown."""

import subprocess
import sys
from collections import namedtuple

import httpx2
import huggingface_hub
import psutil
import pytest
from huggingface_hub import errors
from support.workflow import ROOT, copy_tree, launch

from sequencematch.config import preflight
from sequencematch.config.load import load_config, scale_overlay
from sequencematch.config.preflight import Planned, Reference, hub_problem, problems, references

LLAMA = Reference("model", "model.source", "meta-llama/Llama-2-7b-hf", "main")
OPUS = Reference("dataset", "sources.opus", "Helsinki-NLP/opus_books", "1f9f619")
TOKEN = "hf_secretsecretsecret"


def config(scale="default", **changes):
    return load_config(ROOT / "config.yaml", *scale_overlay(ROOT / "workflow/scales", scale), ("test", changes))


def a_plan(mem_mb=2000, rules=("train_tokenizer", "pretrain_base", "pretrain_bc", "finetune", "sample")):
    return [Planned(rule, "mul", mem_mb) for rule in rules] + [Planned("make_table", None, 1000)]


@pytest.fixture
def gpus(monkeypatch):
    """Set the number of GPUs that torch reports."""
    return lambda count: monkeypatch.setattr("torch.cuda.device_count", lambda: count)


@pytest.fixture
def a_hub(monkeypatch):
    """Set what the hub's client raises when asked."""

    def answering(error=None, at="auth_check"):
        def answer(self, *arguments, **options):
            if error is not None:
                raise error

        for method in ("auth_check", "model_info", "dataset_info"):
            monkeypatch.setattr(huggingface_hub.HfApi, method, answer if method == at else lambda *a, **o: None)
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **o: None)

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    answering()
    return answering


def refused(kind, status):
    request = httpx2.Request("GET", "https://hub", headers={"authorization": f"Bearer {TOKEN}"})
    return kind(f"{status} for {TOKEN}", response=httpx2.Response(status, request=request))


def test_a_tracker_must_be_installed_where_something_is_trained(monkeypatch, gpus, a_hub):
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    (problem,) = problems(a_plan(mem_mb=1), config(tracker="wandb"))
    assert "tracker is wandb" in problem and "pip install 'sequencematch[trackers]'" in problem
    assert problems(a_plan(mem_mb=1, rules=["sample"]), config(tracker="wandb")) == []


def test_a_machine_that_has_all_raises_nothing(gpus, a_hub):
    gpus(1)
    assert problems(a_plan(), config("paper"), gpus=1) == []
    assert problems(a_plan(), config()) == []


def test_a_default_run_neither_imports_torch_nor_asks_the_hub():
    code = (
        "import sys; sys.path.insert(0, 'src'); sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\nfrom sequencematch.config.load import load_config\n"
        "from sequencematch.config.preflight import Planned, problems\n"
        "plan = [Planned(rule, 'mul', 1) for rule in ('pretrain_base', 'pretrain_bc', 'sample')]\n"
        "assert problems(plan, load_config(Path('config.yaml'))) == []\n"
        "assert not {'torch', 'huggingface_hub', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_gap_is_named_at_once(gpus, a_hub, monkeypatch):
    gpus(1)
    a_hub(refused(errors.GatedRepoError, 403))
    monkeypatch.setattr("psutil.virtual_memory", lambda: namedtuple("Memory", "total")(16_000_000_000))
    found = problems(a_plan(mem_mb=48_000), config("paper", jobs={"train": {"gpu": 4}}), gpus=1)
    assert [sentence.split(":")[0] for sentence in found] == [
        "a job of the stage 'train' asks for 4 GPU(s) (jobs.train.gpu), and torch finds 1 here",
        "this machine has 16000 MB of memory, and single jobs ask for more (finetune 48000, pretrain_base 48000, "
        "pretrain_bc 48000, sample 48000, train_tokenizer 48000)",
        "the model 'meta-llama/Llama-2-7b-hf' (model.source) is given only to those who have accepted its licence",
    ]
    assert all("\n" not in sentence and TOKEN not in sentence for sentence in found)


def test_only_what_the_plan_needs_is_asked_for(gpus, a_hub):
    """The tables of finished runs need neither a GPU nor the model."""
    gpus(0)
    a_hub(refused(errors.GatedRepoError, 403))
    assert problems(a_plan(rules=("score",)), config("paper")) == []


def test_more_gpus_than_the_run_may_use(gpus, a_hub):
    gpus(8)
    (sentence,) = problems(a_plan(), config("paper", jobs={"train": {"gpu": 4}}), gpus=1)
    assert sentence.endswith("this run may use 1 at a time: make GPUS=4")


@pytest.mark.parametrize("reference", [LLAMA, OPUS])
@pytest.mark.parametrize(
    ("error", "at", "words"),
    [
        (refused(errors.GatedRepoError, 403), "auth_check", ("accept it at https://huggingface.co/{page}",)),
        (refused(errors.RepositoryNotFoundError, 401), "auth_check", ("not on the hub, or not shown to you",)),
        (refused(errors.RevisionNotFoundError, 404), "info", ("has no revision '{revision}'",)),
        (refused(errors.HfHubHTTPError, 500), "info", ("cannot be reached (HfHubHTTPError)",)),
        (httpx2.ConnectError(f"no route {TOKEN}"), "auth_check", ("cannot be reached (ConnectError)",)),
        (errors.OfflineModeIsEnabled("offline"), "auth_check", ("cannot be reached (OfflineModeIsEnabled)",)),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(a_hub, monkeypatch, reference, error, at, words):
    a_hub(error, f"{reference.kind}_info" if at == "info" else at)
    page = reference.name if reference.kind == "model" else f"datasets/{reference.name}"
    sentence = hub_problem(reference)
    assert sentence.startswith(f"the {reference.kind} '{reference.name}' ({reference.key}) ")
    assert all(word.format(page=page, revision=reference.revision) in sentence for word in words)
    assert TOKEN not in sentence and "\n" not in sentence and "hf auth login" not in sentence
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    needs_login = isinstance(error, errors.RepositoryNotFoundError)  # a gated repository is one of them
    assert ("log in with `hf auth login`" in hub_problem(reference)) == needs_login


def test_what_was_downloaded_earlier_needs_no_hub(a_hub, monkeypatch):
    a_hub(httpx2.ConnectError("no route"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **o: "/cache/config.json")
    assert hub_problem(LLAMA) is None


def test_a_local_folder_is_no_name_of_the_hub(a_hub, gpus, tmp_path):
    gpus(1)
    a_hub(refused(errors.RepositoryNotFoundError, 404))
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert references(a_plan(), config("paper", model={"source": str(folder)})) == []


@pytest.mark.slow
def test_the_real_command_fails_at_once_and_a_dry_run_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    tree = copy_tree(tmp_path)
    enough = psutil.virtual_memory().total // 10**6 + 1
    jobs = f"jobs={{train: {{mem_mb: {enough}}}, sample: {{mem_mb: 1000}}}}"
    settings = ["scale=paper", "seeds=[1]", "etas=[0.2]", jobs]
    done = launch(tree, "table6", config=settings, status=1)
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr
    for sentence, words_in_it in zip(said, ("'train' asks for 1 GPU", "'sample' asks", "memory", "Llama"), strict=True):
        assert words_in_it in sentence
    assert not (tree / "results").exists() or not list((tree / "results").rglob("*.log"))
    launch(tree, "table6", "--dry-run", config=settings)
