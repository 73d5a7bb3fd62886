"""Every reader of a file, the configuration and options, driven by mutated valid ones: the content or a UserError.

The corpus holds tokens that mutations insert (``tokens.txt``), files that broke a reader once (``<reader>-*``), and
changes of valid files that are refused (``refused.txt``).
"""

import gzip
import io
import json
import resource
import shlex
import shutil
import signal
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import packages
from support.configuration import BASE, SCALES
from support.networks import tiny_llama
from support.trained import trained_folder

from sequencematch.cli import main
from sequencematch.config.load import load_config
from sequencematch.data.documents import read_documents
from sequencematch.data.examples import columns, load_examples
from sequencematch.data.pairs import read_pairs
from sequencematch.data.tokenizer import load_tokenizer, pretrained_tokenizer
from sequencematch.errors import UserError
from sequencematch.evaluation.judging import read_actions
from sequencematch.model.build import load_policy, new_policy
from sequencematch.model.gguf_file import convert
from sequencematch.results.estimates import Estimate, Reported, Table, Variant, estimates_csv, read_table
from sequencematch.results.measured import read_measured
from sequencematch.results.metrics import read_budget, read_judged, read_repair, read_samples
from sequencematch.results.report import times
from sequencematch.results.run_figures import read_curve
from sequencematch.results.runs import read_metrics
from sequencematch.script import parser
from sequencematch.settings.data import Source, Translation
from sequencematch.settings.map import Side
from sequencematch.settings.model import Model
from sequencematch.settings.options import add_settings, options, settings_from
from sequencematch.settings.training import Rollouts
from sequencematch.store.datasets import save
from sequencematch.store.files import read_record
from sequencematch.store.provenance_schema import read_facts
from sequencematch.training.batches import load_corpora
from sequencematch.training.checkpoints import load_checkpoint

CORPUS = Path(__file__).parent / "corpus"
TOKENS = [line.encode() for line in (CORPUS / "tokens.txt").read_text().splitlines()]
REFUSED = [line.split(": ", 1) for line in (CORPUS / "refused.txt").read_text().splitlines() if ": {" in line]
NOTHING = (b"", b"{", b"{}", b"[]", b"null", b"\0" * 8, b"\xff" * 100, b"[" * 10**5, b"\x10" + b"\0" * 7 + b"{" * 16)
MEMORY = 2**20  # KiB by which reading a small file may raise this process's peak
SECONDS = 45  # for all readers together; mutations come in the same order each time
PATIENCE = 20  # seconds that reading a small file may take on a machine that does other things too

NUMBERS = {"perplexity": 3.0, "entropy": {"1": 1.0}, "repetition": 0.1, "distinct": 0.9, "mauve": 0.5}
HELD_OUT = {"nll": 1.0, "per_example": [1.0]}
RATES = {"corrupted": [0.5], "clean": [0.1], "example_corrupted": [0], "example_clean": [0]}
OLDER = {"sampled": {"2": {"example": [0], "taken_back": [True], "right": [False], "pushes": [3]}}}
SETTINGS = {"optimiser": {"batch": 8}, "model": {"layers": 2}}
TRAINED = {"stage": {"loss": "sm"}, "settings": SETTINGS, "seed": 1, "base_steps": 3, "steps": 5, "commit": "c"}
JSON = {
    "metrics.json": {
        **{"method": "sm", "eta": 0.2, "seed": 1, "family": "arithmetic", "budget": {"steps": 1}},
        "decodings": {"sampled": {"n": 2, "correct": "01", "accuracy": 0.5}},
        "repair": {"random": {"repair_rate": 0.5, "false_alarm_rate": 0.1}},
    },
    "repair.json": {"backspace": True, "corruptions": {"random": RATES}, "older_errors": OLDER},
    "judged.json": {
        "judge": {"model": "m", "description": "d"},
        **{"held_out": HELD_OUT, "held_out_given_no_deletion": HELD_OUT},
        **{"decodings": {"sampled": NUMBERS}, "reference": NUMBERS},
    },
    "x.jsonl.provenance.json": {"sha256": {"x.jsonl": "0"}, "commit": "c", "uncommitted_changes": False},
    "facts/provenance.json": TRAINED | {"uncommitted_changes": False, "family": "arithmetic", "digest": "d"},
    "hub/config.json": {
        **{"model_type": "llama", "vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "intermediate_size": 24, "bos_token_id": 1, "eos_token_id": 2},
    },
    "measured/facts.json": {"machine": "m", "settings": {"threads": 1}},
    "resume/step-00000001.json": {"step": 1, "sha256": "0"},
}
SAMPLE = {"decoding": "sampled", "example": 0, "answer": 0, "text": "7", "solution": "7", "finished": True}
SAMPLE |= {"pushes": 3, "pops": 0, "deletions": 0, "wrong_pops": 0, "actions": [4, 2]}
PLACES = Side("k", "sm", 0.2, "d"), Side("k", "mle", 0.0, "d")
PRINTED = Reported("p", "k", "sm", 0.2, "q", 1.0, None, "")
TABLE = Table("t", [Estimate(1.0, 1.0, 1.0, 1.0, PLACES[0], "q", PLACES[1], paper=PRINTED)], "s", "k", 1, 2)
TEXT = {
    "samples.jsonl": json.dumps(SAMPLE) + "\n",
    "table.csv": estimates_csv(TABLE),
    "training/metrics.csv": "step,loss\n1,0.5\n",
    "measured/values.csv": "case,row,quantity,repeat,value\na,b,c,1,0.5\n",
    "benchmarks/sample.tsv": "s\th:m:s\n1.5\t0:00:01\n",
    "resume/step-00000001.pt": "no checkpoint",
    "documents.txt": "One\nline\n\n== Two\nlines\n",
    "documents.jsonl": '{"text": "One"}\n{"text": "Two"}\n',
    "sample.txt": "'What is 2?' --max-actions 5 --temperature 0.7 --top-k 3 --top-p 0.9 --seed 4 --json",
    "trace.txt": "'<bos> 2 + 2 =' '5 <bkspc> 4 <eos>' --json",
    "settings.txt": options(Rollouts()),
    "pairs.tsv": "a dog\tun chien\na cat\tun chat\n",
    "pairs.jsonl": '{"translation": {"en": "a dog", "fr": "un chien"}}\n',
}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A folder of valid files."""
    folder = tmp_path_factory.mktemp("valid")
    _, tokenizer = trained_folder(folder / "model")
    tokenizer.save(folder / "hub")
    for name, text in (TEXT | {name: json.dumps(content, indent=1) for name, content in JSON.items()}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    examples = {"prompt": [[1, 4]], "completion": [[5, 2]], "base": [10], "text": ["5"]}
    assert examples.keys() == columns([]).keys()
    save({"train": examples}, folder / "examples", {"family": "arithmetic"})
    noised = {"prompt": [[1, 4]], "actions": [[5, 2]], "imitated": [[True, True]], "draw": [0]}
    save({"train": noised, "validation": noised}, folder / "noised", {})
    for name in ("documents.txt", "pairs.jsonl"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    shutil.copy(SCALES / "smoke.yaml", folder / "smoke.yaml")
    shutil.copy(BASE, folder / "base.yaml")
    tiny_llama(300).save_pretrained(folder / "foreign", max_shard_size=8000)
    tokenizer.save(folder / "foreign")
    (folder / "gguf").mkdir()
    packages.gguf_file(folder / "gguf/tiny.gguf", tiny_llama(260))
    return folder


def documents(name):
    return lambda folder: [
        list(texts)
        for texts in read_documents(Source(kind="files", train=(str(folder / name),), separator="^==")).values()
    ]


def pairs(name):
    data = Translation.model_construct(languages=("en", "fr"))
    return lambda folder: read_pairs(Source(kind="files", train=(str(folder / name),)), data)


def words(folder, name):
    """The words of a command line; UserError where a shell would not take them."""
    try:
        return shlex.split((folder / name).read_text())
    except ValueError as error:
        raise UserError(str(error)) from None


def command(*first):
    """Run the command line in the file of a subcommand's name; its refusals are errors."""

    def run(folder):
        given = [first[0], *(str(folder / path) for path in first[1:]), *words(folder, f"{first[0]}.txt")]
        with refusals():
            main(given)

    return run


def rollouts(folder):
    known = parser("x")
    add_settings(known, Rollouts)
    with refusals():
        settings_from(known.parse_args(words(folder, "settings.txt")), Rollouts)


@contextmanager
def refusals():
    """What a command line says as it ends, as a UserError; --help is content."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        try:
            yield
        except SystemExit as stopped:
            if stopped.code:
                raise UserError(said.getvalue() if stopped.code == 2 else str(stopped.code)) from None


def foreign(folder):
    """What ``takeback`` and a training job read of a stranger's folder."""
    found = pretrained_tokenizer(str(folder / "foreign"))
    new_policy(Model(source=str(folder / "foreign")), found.size, found.special_ids, backspace=True, seed=0)


def policy(folder):
    load_policy(folder / "model")


def examples(folder):
    load_examples(folder / "examples")


def corpora(folder):
    load_corpora(folder / "noised", eos=2)


def facts(folder):
    read_facts(folder / "facts", "make it again", "seed", "stage.loss")
    read_budget(folder / "facts", folder / "facts")


FOREIGN = ("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer_config.json")
TOKENIZER = ("tokenizer", "tokenizer_config")
HUB = ("config", *TOKENIZER)
# By name: the file that is mutated, and how it is read, given the folder.
READERS = {
    "policy": ("model/policy.json", policy),
    "weights": ("model/lm.safetensors", policy),
    "actions": ("model/actions.safetensors", policy),
    **{n: (f"model/{n}.json", lambda folder: load_tokenizer(folder / "model")) for n in TOKENIZER},
    **{f"hub_{n}": (f"hub/{n}.json", lambda folder: pretrained_tokenizer(str(folder / "hub"))) for n in HUB},
    **{f"foreign_{name}": (f"foreign/{name}", foreign) for name in FOREIGN},
    "gguf": ("gguf/tiny.gguf", lambda folder: convert(folder / "gguf", folder / "converted")),
    "sample": ("sample.txt", command("sample", "model")),
    "trace": ("trace.txt", command("trace")),
    "settings": ("settings.txt", rollouts),
    "metrics": ("metrics.json", lambda folder: read_metrics(folder / "metrics.json")),
    "repair": ("repair.json", lambda folder: read_repair(folder / "repair.json")),
    "judged": ("judged.json", lambda folder: read_judged(folder / "judged.json", ["sampled"])),
    "samples": ("samples.jsonl", lambda folder: read_samples(folder / "samples.jsonl")),
    "sampled_actions": ("samples.jsonl", lambda folder: read_actions(folder / "samples.jsonl", 1)),
    "record": ("x.jsonl.provenance.json", lambda folder: read_record(folder / "x.jsonl")),
    "facts": ("facts/provenance.json", facts),
    "examples_provenance": ("examples/provenance.json", examples),
    "examples_index": ("examples/dataset_dict.json", examples),
    "examples_rows": ("examples/train/data-00000-of-00001.arrow", examples),
    "noised_rows": ("noised/train/data-00000-of-00001.arrow", corpora),
    "noised_state": ("noised/train/state.json", corpora),
    "noised_info": ("noised/train/dataset_info.json", corpora),
    "table": ("table.csv", lambda folder: read_table(folder / "table.csv")),
    "training": ("training/metrics.csv", lambda folder: read_curve(folder / "training", Variant("sm", 0.2))),
    "measured_values": ("measured/values.csv", lambda folder: read_measured(folder / "measured")),
    "measured_facts": ("measured/facts.json", lambda folder: read_measured(folder / "measured")),
    "benchmarks": ("benchmarks/sample.tsv", lambda folder: times(folder / "benchmarks")),
    "checkpoint_manifest": ("resume/step-00000001.json", lambda folder: load_checkpoint(folder / "resume")),
    "checkpoint": ("resume/step-00000001.pt", lambda folder: load_checkpoint(folder / "resume")),
    **{f"text_{name}": (name, documents(name)) for name in ("documents.txt", "documents.jsonl", "documents.txt.gz")},
    **{f"text_{name}": (name, pairs(name)) for name in ("pairs.tsv", "pairs.jsonl", "pairs.jsonl.gz")},
    "scale": ("smoke.yaml", lambda folder: load_config(BASE, folder / "smoke.yaml")),
    "configuration": ("base.yaml", lambda folder: load_config(folder / "base.yaml")),
}

CHANGE = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["flip", "cut", "insert", "replace", "drop", "repeat"]),
    st.sampled_from(TOKENS),
    st.integers(0, 255),
)


def mutated(content: bytes, changes) -> bytes:
    """The content after a few changes: (place in [0, 1), kind, token, byte)."""
    for place, kind, token, byte in changes:
        at = int(place * len(content))
        if kind == "repeat":
            content = content[: at + byte] + content[at:]
            continue
        rest = {"flip": 1, "cut": len(content), "insert": 0, "replace": len(token), "drop": 8}[kind]
        new = {"flip": bytes([byte]), "insert": token, "replace": token}.get(kind, b"")
        content = content[:at] + new + content[at + rest :]
    return content


@contextmanager
def patience(seconds: int):
    """Raises TimeoutError in a block that takes longer."""

    def give_up(*_):
        raise TimeoutError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_to_read(folder: Path, target: str, read, content: bytes) -> None:
    (folder / target).write_bytes(content)
    said, before = "content", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with patience(PATIENCE):
            read(folder)
    except UserError as error:
        said = str(error)
    except BaseException as error:
        error.add_note(f"{target} was {content!r:.2000}")
        raise
    assert said.strip() and "\n" not in said.strip(), said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + MEMORY, content[:2000]


def drive(folder: Path, name: str, seconds: float) -> None:
    """Read the file as it is, what broke its reader once, and mutations of it, for so long."""
    target, read = READERS[name]
    original, end = (folder / target).read_bytes(), time.monotonic() + seconds

    @settings(
        max_examples=int(200 * seconds) + 1,
        database=None,
        suppress_health_check=list(HealthCheck),
        deadline=None,
        phases=[Phase.generate],
    )
    @given(st.lists(CHANGE, min_size=1, max_size=4))
    def mutation(changes):
        if time.monotonic() < end:
            try_to_read(folder, target, read, mutated(original, changes))

    try:
        for kept in (*NOTHING, *(file.read_bytes() for file in sorted(CORPUS.glob(f"{name}-*")))):
            try_to_read(folder, target, read, kept)
        mutation()
    finally:
        (folder / target).write_bytes(original)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("name", READERS)
def test_nothing_but_a_user_error_comes_out(valid, name):
    READERS[name][1](valid)  # otherwise a reader would refuse all mutations for the same reason
    drive(valid, name, SECONDS / len(READERS))


def changed(content, change):
    """A JSON value with a change, inside groups too."""
    if not isinstance(content, dict) or not isinstance(change, dict):
        return change
    return content | {name: changed(content.get(name), value) for name, value in change.items()}


@pytest.mark.parametrize(("name", "change"), REFUSED)
def test_absurd_values_are_refused_soon_in_one_sentence(valid, name, change):
    target, read = READERS[name]
    original = (valid / target).read_bytes()
    try:
        (valid / target).write_text(json.dumps(changed(json.loads(original), json.loads(change))))
        with patience(5), pytest.raises(UserError) as caught:
            read(valid)
        assert "\n" not in str(caught.value)
    finally:
        (valid / target).write_bytes(original)
