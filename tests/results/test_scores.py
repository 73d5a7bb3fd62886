"""Tables through the real command: hand-computed cells, what is said in words, the figure, and every refusal."""

import csv
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from sequencematch.results import measure as measure_module
from sequencematch.results import pages
from sequencematch.results.bleu import translation_scores
from sequencematch.results.estimates import scores_csv
from sequencematch.results.pages import DELETIONS
from sequencematch.results.paper import find, read_reported
from sequencematch.results.quantities import BY_SEED, QUANTITIES, Quantity
from sequencematch.results.runs import Comparison
from sequencematch.results.variants import Variant
from sequencematch.store.files import RECORD

SCRIPT = Path(__file__).parents[2] / "src" / "make_table.py"
BUDGET = {"base_steps": 10, "steps": 20, "batch": 32, "model_digest": "m", "data_digest": "d", "questions_digest": "q"}


def metrics(method: str, eta: float, seed: int, correct: str, **changes) -> dict:
    """The metrics of a run whose decodings all have the same answers."""
    backspace = method not in ("mle", "uls")
    decoding = {
        "accuracy": correct.count("1") / len(correct),
        "n": len(correct),
        "correct": correct,
        "pushes_per_sequence": 3.0,
        "pops_per_sequence": 0.5 * seed if backspace else 0.0,
        "wrong_pop_share": 0.25 if backspace else None,
        "cut_off_share": 0.0,
    }
    # Question 0 was measured in some seeds only, so no seed's average may contain it.
    corrupted = {"1": 0.9, "2": 0.7} | ({"0": 0.0} if seed == 1 else {})
    repair = {
        kind: {
            "repair_rate": sum(numbers.values()) / len(numbers),
            "false_alarm_rate": 0.1,
            "per_example": {"corrupted": numbers, "clean": {"1": 0.1}},
        }
        for kind, numbers in (("task", corrupted), ("model", {"3": 0.2}))
    }
    return {
        "scale": "smoke",
        "task": "mul",
        "family": "arithmetic",
        "method": method,
        "eta": eta,
        "seed": seed,
        "decodings": dict.fromkeys(("sampled", "greedy", "perturbed=0.1"), decoding),
        "repair": repair if backspace else None,
        "budget": BUDGET,
        "commit": "abc",
        "settings": {},
    } | changes


RUNS = [
    metrics("mle", 0.0, 1, "1100" * 50),
    metrics("mle", 0.0, 2, "1000" * 50),
    metrics("bc", 0.2, 1, "1110" * 50),
    metrics("bc", 0.2, 2, "1100" * 50),
    metrics("sm", 0.2, 1, "1111" * 50),
    metrics("sm", 0.2, 2, "1111" * 50),
]


def make_table(folder: Path, runs: list, *options) -> tuple[subprocess.CompletedProcess, Path]:
    """Write metrics files and compare them; the finished process, and the folder of the table's files."""
    files = [folder / f"{i}.json" for i in range(len(runs))]
    for file, content in zip(files, runs, strict=True):
        file.write_text(json.dumps(content))
    outputs = (f"--{kind}={folder / 'out' / kind}" for kind in ("csv", "markdown", "html", "figure"))
    command = [sys.executable, SCRIPT, "--table", "table6", *options, *outputs, "--metrics", *files]
    return subprocess.run(command, capture_output=True, text=True), folder / "out"


@pytest.fixture
def make(tmp_path):
    return partial(make_table, tmp_path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of RUNS: CSV rows by (method, eta, decoding, quantity), and the Markdown."""
    done, folder = make_table(tmp_path_factory.mktemp("table"), RUNS, "--title", "Table 6: a title")
    assert done.returncode == 0, done.stderr
    rows = csv.DictReader((folder / "csv").open(newline=""))
    cells = {tuple(row[name] for name in ("method", "eta", "decoding", "quantity")): row for row in rows}
    assert (folder / "figure").read_bytes().startswith(b"\x89PNG")
    written = {"csv", "figure", "html", "markdown"}
    assert {file.name for file in folder.iterdir()} == written | {f"{name}{RECORD}" for name in written}
    return cells, (folder / "markdown").read_text()


def test_hand_computed_cells(table):
    cells, _ = table
    mle = cells["mle", "0.0", "sampled", "accuracy"]
    assert float(mle["mean"]) == 0.375
    assert float(mle["sd"]) == pytest.approx(0.125 * 2**0.5, abs=1e-6)
    assert 0 <= float(mle["low"]) < 0.375 < float(mle["high"]) <= 1
    assert (mle["table"], mle["scale"], mle["seeds"], mle["questions"]) == ("table6", "smoke", "2", "200")
    assert float(cells["bc", "0.2", "greedy", "accuracy_minus_mle"]["mean"]) == 0.25
    assert float(cells["bc", "0.2", "greedy", "accuracy_minus_mle"]["sd"]) == 0
    assert float(cells["sm", "0.2", "perturbed=0.1", "accuracy_minus_bc"]["mean"]) == 0.375
    assert float(cells["sm", "0.2", "sampled", "pops_per_sequence"]["mean"]) == 0.75
    assert float(cells["sm", "0.2", "", "repair_rate[task]"]["mean"]) == pytest.approx(0.8)
    assert float(cells["sm", "0.2", "", "false_alarm_rate[task]"]["mean"]) == pytest.approx(0.1)
    assert ("mle", "0.0", "", "repair_rate[task]") not in cells
    assert ("mle", "0.0", "sampled", "wrong_pop_share") not in cells


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_caption_names_the_split_that_was_sampled(make, tmp_path, split):
    record = {"sha256": {}, "commit": "abc", "uncommitted_changes": False, "options": {"evaluation.split": split}}
    (tmp_path / "samples.jsonl.provenance.json").write_text(json.dumps(record))
    done, folder = make(RUNS)
    assert done.returncode == 0, done.stderr
    assert f"; 200 {split} questions." in (folder / "markdown").read_text()


def test_repair_that_was_not_measured_has_no_section(make):
    """``evaluation.corruptions: []``: no grid of methods alone, and no words about rates."""
    unmeasured = [run | {"repair": {} if run["repair"] else None} for run in RUNS]
    done, folder = make(unmeasured)
    page = (folder / "markdown").read_text()
    assert done.returncode == 0 and "repair" not in page.lower() and "| method |\n" not in page
    assert "## Deletions in decoding" in page


def test_a_method_that_keeps_deletions_stands_beside_others_without_repair_rates(make):
    kept = [metrics("keep", 0.2, seed, "1110" * 50) | {"repair": {}} for seed in (1, 2)]
    done, folder = make([*RUNS, *kept])
    assert done.returncode == 0, done.stderr
    page = (folder / "markdown").read_text()
    assert page.count("| Keep, η = 0.2 |") > 1 and "repair rate" in page.lower()


def test_dagger_is_written_as_its_authors_do(make):
    done, folder = make([*RUNS, *(metrics("dagger", 0.2, seed, "1110" * 50) for seed in (1, 2))])
    page = (folder / "markdown").read_text()
    assert done.returncode == 0 and "| DAgger, η = 0.2 |" in page and "DAGGER" not in page


def test_shares_stay_shares(table):
    cells, _ = table
    for (_, _, _, quantity), row in cells.items():
        if quantity.partition("[")[0] in ("accuracy", "repair_rate", "false_alarm_rate"):
            assert 0 <= float(row["low"]) <= float(row["mean"]) <= float(row["high"]) <= 1


def test_paper_numbers_have_their_own_columns(table):
    cells, markdown = table
    row = cells["sm", "0.2", "sampled", "accuracy"]
    assert [row[f"paper_{name}"] for name in ("value", "spread", "source")] == ["0.56", "0.04", "table 6"]
    assert cells["mle", "0.0", "sampled", "accuracy"]["paper_value"] == "0.49"
    assert cells["sm", "0.2", "greedy", "accuracy"]["paper_value"] == ""  # the paper samples
    header, *lines = [line for line in markdown.splitlines() if line.startswith("|")][:5]
    assert header.endswith("| paper (table 6) |")
    assert [line.split(" | ")[-1] for line in lines[1:]] == ["0.49 ± 0.04 |", "0.5 ± 0.03 |", "0.56 ± 0.04 |"]


def test_markdown_says_what_was_compared_and_what_it_supports(table):
    _, markdown = table
    caption = markdown.partition("## How it was made")[2]
    assert markdown.startswith("# Table 6: a title\n")
    for fact in ("scale `smoke`", "2 seeds (1, 2)", "200 questions", "gradient steps in all 20", "data d"):
        assert fact in caption
    assert "commit abc" in caption and "resembles the training noise" in caption
    short = markdown.partition("## In short")[2].partition("## ")[0]
    assert "- BC vs. MLE: significantly better with sampling (+0.250)" in short
    assert "- SM vs. BC: no significant difference (largest of 3: " in short


def test_words_follow_the_sign(make):
    """BC answers a half that MLE does not, and the other way round."""
    worse = [metrics("mle", 0.0, s, "1110" * 50) for s in (1, 2)] + [metrics("bc", 0.2, s, "1000" * 50) for s in (1, 2)]
    _, folder = make(worse)
    text = (folder / "markdown").read_text()
    assert "- BC vs. MLE: significantly worse with sampling (-0.500)" in text
    even = [metrics("mle", 0.0, s, "10" * 50) for s in (1, 2)] + [metrics("bc", 0.2, s, "01" * 50) for s in (1, 2)]
    _, folder = make(even)
    assert "- BC vs. MLE: no significant difference (largest of 3: " in (folder / "markdown").read_text()


def test_variants_are_compared_with_their_method(make):
    runs = [metrics(method, 0.2, 1, answers) for method, answers in (("sm", "11"), ("sm_js", "10"), ("bc", "01"))]
    runs = [run | {"task": "add_or_sub_in_base"} for run in runs]
    _, folder = make(runs)
    text = (folder / "markdown").read_text()
    assert "- SM (js) vs. SM: " in text and "- SM vs. SM" not in text
    assert "| paper (appendix G.1) |" in text and "printed as the range 85-90% (SM, η = 0.2)" in text


def test_one_seed_is_said_so(make):
    done, folder = make(RUNS[::2])
    assert done.returncode == 0, done.stderr
    text = (folder / "markdown").read_text()
    assert "one seed (1)" in text and "say nothing of the spread between seeds" in text
    assert "| MLE | 0.500 | 0." in text


def changed(run: dict, **changes) -> dict:
    return json.loads(json.dumps(run)) | changes


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([*RUNS[:-1], changed(RUNS[-1], budget=BUDGET | {"steps": 30})], "gradient steps in all (20 against 30)"),
        ([*RUNS[:-1], changed(RUNS[-1], budget=BUDGET | {"data_digest": "e"})], "differ in data (d against e)"),
        ([*RUNS[:-1], changed(RUNS[-1], budget=BUDGET | {"model_digest": "e"})], "differ in model settings"),
        ([*RUNS[:-1], changed(RUNS[-1], budget=BUDGET | {"questions_digest": "e"})], "differ in questions"),
        ([*RUNS[:-1], changed(RUNS[-1], scale="default")], "of scale 'smoke'"),
        ([*RUNS[:-1], changed(RUNS[-1], task="add")], "of task 'mul'"),
        ([*RUNS[:-1], changed(RUNS[-1], decodings={"sampled": RUNS[-1]["decodings"]["sampled"]})], "decodings"),
        ([*RUNS[:-1], changed(RUNS[-1], repair={"task": RUNS[-1]["repair"]["task"]})], "the corruptions task, model"),
        ([*RUNS, RUNS[0]], "the same run (method 'mle' at eta 0, seed 1)"),
        (RUNS[:-1], "method 'sm' at eta 0.2 lacks seed 2"),
        ([*RUNS[:-1], {"scale": "smoke"}], "score the run again"),
        ([*RUNS[:-1], [1]], "holds no JSON object"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(make, runs, said):
    done, folder = make(runs)
    assert done.returncode == 1 and not folder.exists()
    assert done.stderr.startswith("error: ") and said in done.stderr and done.stderr.count("\n") == 1


def test_paper_file_that_is_none(make, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    done, _ = make(RUNS, "--paper", tmp_path / "other.csv")
    assert done.returncode == 1 and "no table of reported numbers" in done.stderr and done.stderr.count("\n") == 1


def test_paper_numbers_read_by_table():
    """A few numbers of each table, copied from the paper a second time."""
    numbers = read_reported()
    assert {number.source for number in numbers} == {f"table {i}" for i in range(3, 8)} | {"appendix G.1"}
    for task, method, eta, metric, value, spread in (
        ("translation", "sm", 0.02, "bleu", 37, 4),
        ("mul", "bc", 0.2, "accuracy", 0.5, 0.03),
        ("list_prime_factors", "sm", 0.2, "accuracy", 0.08, 0.04),
        ("list_prime_factors", "mle", 0, "accuracy", 0.04, 0.03),
        ("add_or_sub_in_base", "sm_js", 0.02, "accuracy", 0.6, None),
    ):
        found = find(numbers, task, method, eta, metric)
        assert (found.value, found.spread) == (value, spread)
    assert find(numbers, "mul", "sm", 0.1, "accuracy") is None


def test_a_table_of_translations(make):
    """BLEU of each seed's corpus, its paired difference exact, and beside it the paper's number and chrF."""
    references = [f"le chat numéro {i} dort sur la table ." for i in range(20)]
    runs, bleu = [], {}
    for method, seed in (("mle", 1), ("mle", 2), ("sm", 1), ("sm", 2)):
        wrong = {"mle": 12, "sm": 6}[method] + seed
        translations = ["x " + text[9:] if i < wrong else text for i, text in enumerate(references)]
        scores = translation_scores(translations, references)
        bleu.setdefault(method, []).append(scores["bleu"])
        run = metrics(method, 0.2 if method == "sm" else 0.0, seed, "1" * 20, task="translation", family="translation")
        sampled = run["decodings"]["sampled"]
        counted = {name: sampled[name] for name in ("n", *DELETIONS) if name in sampled}
        runs.append(run | {"decodings": {"sampled": counted | scores}})
    done, folder = make(runs)
    assert done.returncode == 0, done.stderr
    rows = {(r["method"], r["quantity"]): r for r in csv.DictReader((folder / "csv").open(newline=""))}
    assert float(rows["sm", "bleu"]["mean"]) == pytest.approx(sum(bleu["sm"]) / 2, abs=1e-6)
    difference = rows["sm", "bleu_minus_mle"]
    assert float(difference["mean"]) == pytest.approx((sum(bleu["sm"]) - sum(bleu["mle"])) / 2, abs=1e-6)
    assert 0 < float(difference["low"]) < float(difference["mean"]) < float(difference["high"])
    assert (rows["sm", "bleu"]["paper_value"], rows["sm", "bleu"]["paper_source"]) == ("36.0", "table 5")
    assert rows["sm", "chrf"]["low"] == "" and float(rows["sm", "bleu"]["high"]) <= 100
    text = (folder / "markdown").read_text()
    assert "SM vs. MLE: significantly better with sampling" in text and "counts with the text it has" in text
    assert "tok:13a" in text and "the data of the paper is opus_books en-fr" in text


def test_a_rule_is_compared_with_the_same_decoding_without_it(make):
    """MLE alone may have a rule in the place of ``<bkspc>``; what it adds is a paired difference."""
    runs = json.loads(json.dumps(RUNS))
    for run in (run for run in runs if run["method"] == "mle"):
        answers, share = {1: ("1111" * 50, 1.0), 2: ("1110" * 50, 0.75)}[run["seed"]]
        better = run["decodings"]["greedy"] | {"correct": answers, "accuracy": share}
        run["decodings"]["greedy+takeback_ratio=0.3"] = better
    done, folder = make(runs)
    assert done.returncode == 0, done.stderr
    rows = csv.DictReader((folder / "csv").open(newline=""))
    cells = {tuple(row[name] for name in ("method", "decoding", "quantity")): row for row in rows}
    gain = cells["mle", "greedy+takeback_ratio=0.3", "accuracy_minus_mle[greedy]"]
    assert float(gain["mean"]) == pytest.approx(0.5)
    assert ("sm", "greedy+takeback_ratio=0.3", "accuracy") not in cells
    text = (folder / "markdown").read_text()
    assert "| MLE vs. itself without the takeback rule | - | - | - | - | - | - | **+0.500** |" in text
    assert "- MLE with the takeback rule vs. without: significantly better with greedy, deleting below 0.3" in text


def test_a_new_metric_is_one_entry_where_runs_have_it(monkeypatch):
    """What docs/extend.md says of a metric: with its number in metrics.json, a label is enough for CSV and page."""
    monkeypatch.setitem(QUANTITIES, "surprise", Quantity("surprise of the answer", digits=1, by_seed=True))
    for module in (measure_module, pages):
        monkeypatch.setattr(module, "BY_SEED", (*BY_SEED, "surprise"))
    runs = [json.loads(json.dumps(run)) for run in RUNS]
    for run in runs:
        run["decodings"]["sampled"]["surprise"] = 1.5 + run["seed"]
    mle, bc, sm = (Variant(method, eta) for method, eta in (("mle", 0.0), ("bc", 0.2), ("sm", 0.2)))
    comparison = Comparison([1, 2], {mle: runs[:2], bc: runs[2:4], sm: runs[4:]})
    table = measure_module.measure("table6", comparison)
    assert table.find(sm, "sampled", "surprise").mean == 3 and "surprise,3.0,0.707107" in scores_csv(table)
    page = pages.scores_page("A title", table, comparison).markdown()
    assert (
        "## surprise of the answer\n\n| method | surprise of the answer, sampled |\n| --- | --- |\n| MLE | 3.0 ± 0.7 |"
        in page
    )
