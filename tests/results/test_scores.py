"""Tables through the real command: hand-computed cells, what is said in words, the figure, and every refusal."""

import json
from functools import partial

import pytest
from support.tables import BUDGET, a_run, assert_refused, made, make_table

from sequencematch.results import pages, words
from sequencematch.results.bleu import translation_scores
from sequencematch.results.estimates import Table, Variant, estimates_csv, find, read_reported
from sequencematch.results.measure import measure, older_errors
from sequencematch.results.pages import DELETIONS, older_error_grids
from sequencematch.results.runs import Comparison
from sequencematch.results.words import QUANTITIES, Quantity
from sequencematch.store.files import RECORD

MLE, BC, SM = Variant("mle", 0.0), Variant("bc", 0.2), Variant("sm", 0.2)


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
    decodings = dict.fromkeys(("sampled", "greedy", "perturbed=0.1"), decoding)
    return a_run(method, eta, seed, decodings, repair=repair if backspace else None) | changes


ANSWERS = {("mle", 0.0): ("1100", "1000"), ("bc", 0.2): ("1110", "1100"), ("sm", 0.2): ("1111", "1111")}
RUNS = [metrics(*of, seed, answers * 50) for of, both in ANSWERS.items() for seed, answers in enumerate(both, start=1)]


@pytest.fixture
def make(tmp_path):
    return partial(make_table, tmp_path)


@pytest.fixture
def made_of(tmp_path):
    return partial(made, tmp_path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of RUNS: its cells, and the Markdown."""
    folder = tmp_path_factory.mktemp("table")
    cells, page = made(folder, RUNS, "--title", "Table 6: a title")
    written = {"csv", "figure", "html", "markdown"}
    assert {file.name for file in (folder / "out").iterdir()} == written | {f"{name}{RECORD}" for name in written}
    return cells, page["markdown"]


def test_hand_computed_cells(table):
    cells, _ = table
    mle = cells["mle", "sampled", "accuracy"]
    assert float(mle["mean"]) == 0.375
    assert float(mle["sd"]) == pytest.approx(0.125 * 2**0.5, abs=1e-6)
    assert 0 <= float(mle["low"]) < 0.375 < float(mle["high"]) <= 1
    assert (mle["table"], mle["scale"], mle["seeds"], mle["questions"]) == ("table6", "smoke", "2", "200")
    expected = {
        ("bc", "greedy", "accuracy_minus_mle"): 0.25,
        ("sm", "perturbed=0.1", "accuracy_minus_bc"): 0.375,
        ("sm", "sampled", "pops_per_sequence"): 0.75,
        ("sm", "", "repair_rate[task]"): 0.8,
        ("sm", "", "false_alarm_rate[task]"): 0.1,
    }
    assert {place: float(cells[place]["mean"]) for place in expected} == pytest.approx(expected)
    gain = cells["bc", "greedy", "accuracy_minus_mle"]
    assert [gain[f"against_{name}"] for name in ("method", "eta", "decoding")] == ["mle", "0.0", "greedy"]
    assert float(gain["sd"]) == 0
    assert ("mle", "", "repair_rate[task]") not in cells and ("mle", "sampled", "wrong_pop_share") not in cells
    for (_, _, quantity), row in cells.items():
        if quantity.partition("[")[0] in ("accuracy", "repair_rate", "false_alarm_rate"):
            assert 0 <= float(row["low"]) <= float(row["mean"]) <= float(row["high"]) <= 1


def test_the_caption_names_the_split_that_was_sampled(made_of, tmp_path):
    record = {"sha256": {}, "commit": "abc", "uncommitted_changes": False, "options": {"evaluation.split": "test"}}
    (tmp_path / "0").mkdir()
    (tmp_path / "0/samples.jsonl.provenance.json").write_text(json.dumps(record))
    assert "; 200 test questions." in made_of(RUNS)[1]["markdown"]


def test_repair_that_was_not_measured_has_no_section(made_of):
    """``evaluation.corruptions: []``: no grid of methods alone, and no words about rates."""
    page = made_of([run | {"repair": {} if run["repair"] else None} for run in RUNS])[1]["markdown"]
    assert "repair" not in page.lower() and "| method |\n" not in page and "## Deletions in decoding" in page


def test_methods_of_others_stand_beside_ours(made_of):
    """One that keeps deletions has no repair rates; DAgger is written as its authors do."""
    kept = [metrics("keep", 0.2, seed, "1110" * 50, repair={}) for seed in (1, 2)]
    dagger = [metrics("dagger", 0.2, seed, "1110" * 50) for seed in (1, 2)]
    page = made_of([*RUNS, *kept, *dagger])[1]["markdown"]
    assert page.count("| Keep, η = 0.2 |") > 1 and "repair rate" in page.lower()
    assert "| DAgger, η = 0.2 |" in page and "DAGGER" not in page


def test_paper_numbers_have_their_own_columns(table):
    cells, markdown = table
    row = cells["sm", "sampled", "accuracy"]
    assert [row[f"paper_{name}"] for name in ("value", "spread", "source")] == ["0.56", "0.04", "table 6"]
    assert cells["mle", "sampled", "accuracy"]["paper_value"] == "0.49"
    assert cells["sm", "greedy", "accuracy"]["paper_value"] == ""  # the paper samples
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


def test_words_follow_the_sign(made_of):
    """BC answers less than MLE; SM the other half."""
    answers = {("mle", 0.0): "1110", ("bc", 0.2): "1000", ("sm", 0.2): "1011"}
    text = made_of([metrics(*of, s, right * 50) for of, right in answers.items() for s in (1, 2)])[1]["markdown"]
    assert "- BC vs. MLE: significantly worse with sampling (-0.500)" in text
    assert "- SM vs. MLE: no significant difference (largest of 3: " in text


def test_variants_are_compared_with_their_method_and_one_seed_is_said_so(made_of):
    runs = [metrics(method, 0.2, 1, answers) for method, answers in (("sm", "11"), ("sm_js", "10"), ("bc", "01"))]
    text = made_of([run | {"task": "add_or_sub_in_base"} for run in runs])[1]["markdown"]
    assert "- SM (js) vs. SM: " in text and "- SM vs. SM" not in text
    assert "| paper (appendix G.1) |" in text and "printed as the range 85-90% (SM, η = 0.2)" in text
    assert "one seed (1)" in text and "say nothing of the spread between seeds" in text
    assert "| SM, η = 0.2 | 1.000 | " in text


LAST = RUNS[-1]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (LAST | {"budget": BUDGET | {"steps": 30}}, "gradient steps in all (20 against 30)"),
        (LAST | {"budget": BUDGET | {"data_digest": "e"}}, "differ in data (d against e)"),
        (LAST | {"scale": "default"}, "differ in scale (smoke against default)"),
        (LAST | {"task": "add"}, "differ in task (mul against add)"),
        (LAST | {"decodings": {"sampled": LAST["decodings"]["sampled"]}}, "decodings"),
        (LAST | {"repair": {"task": LAST["repair"]["task"]}}, "differ in corruptions (model, task against task)"),
        (RUNS[0], "the same run (MLE, seed 1)"),
        (None, "SM, η = 0.2 lacks seed 2"),
        ({"scale": "smoke"}, "score the run again"),
        ([1], "holds no JSON object"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(make, last, said):
    assert_refused(*make([*RUNS[:-1], *([last] if last else [])]), said)


def test_paper_numbers_read_by_table():
    """A few numbers of each table, copied from the paper a second time."""
    assert {number.source for number in read_reported()} == {f"table {i}" for i in range(3, 8)} | {"appendix G.1"}
    for task, method, eta, metric, value, spread in (
        ("translation", "sm", 0.02, "bleu", 37, 4),
        ("mul", "bc", 0.2, "accuracy", 0.5, 0.03),
        ("list_prime_factors", "sm", 0.2, "accuracy", 0.08, 0.04),
        ("list_prime_factors", "mle", 0, "accuracy", 0.04, 0.03),
        ("add_or_sub_in_base", "sm_js", 0.02, "accuracy", 0.6, None),
    ):
        found = find(task, method, eta, metric)
        assert (found.value, found.spread) == (value, spread)
    assert find("mul", "sm", 0.1, "accuracy") is None


def test_a_table_of_translations(made_of):
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
    cells, pages_of = made_of(runs)
    own, difference = (cells["sm", "sampled", name] for name in ("bleu", "bleu_minus_mle"))
    assert float(own["mean"]) == pytest.approx(sum(bleu["sm"]) / 2, abs=1e-6) and float(own["high"]) <= 100
    assert float(difference["mean"]) == pytest.approx((sum(bleu["sm"]) - sum(bleu["mle"])) / 2, abs=1e-6)
    assert 0 < float(difference["low"]) < float(difference["mean"]) < float(difference["high"])
    assert (own["paper_value"], own["paper_source"]) == ("36", "table 5")
    assert cells["sm", "sampled", "chrf"]["low"] == ""
    text = pages_of["markdown"]
    assert "SM vs. MLE: significantly better with sampling" in text and "counts with the text it has" in text
    assert "tok:13a" in text and "the data of the paper is opus_books en-fr" in text


def test_a_rule_is_compared_with_the_same_decoding_without_it(made_of):
    """MLE alone may have a rule in the place of ``<bkspc>``; what it adds is a paired difference."""
    runs = json.loads(json.dumps(RUNS))
    for run in (run for run in runs if run["method"] == "mle"):
        answers, share = {1: ("1111" * 50, 1.0), 2: ("1110" * 50, 0.75)}[run["seed"]]
        better = run["decodings"]["greedy"] | {"correct": answers, "accuracy": share}
        run["decodings"]["greedy+takeback_ratio=0.3"] = better
    cells, page = made_of(runs)
    gain = cells["mle", "greedy+takeback_ratio=0.3", "accuracy_minus_mle[greedy]"]
    assert float(gain["mean"]) == pytest.approx(0.5) and gain["against_decoding"] == "greedy"
    assert ("sm", "greedy+takeback_ratio=0.3", "accuracy") not in cells
    text = page["markdown"]
    assert "| MLE vs. itself without a rule | - | - | - | - | - | - | **+0.500** |" in text
    assert "- MLE with a rule vs. without: significantly better with greedy, deleting below 0.3" in text


def test_a_new_metric_is_one_entry_where_runs_have_it(monkeypatch):
    """What docs/extend.md says of a metric: with its number in metrics.json, a label is enough for CSV and page."""
    monkeypatch.setitem(QUANTITIES, "surprise", Quantity("surprise of the answer", digits=1, by_seed=True))
    monkeypatch.setattr(words, "BY_SEED", (*words.BY_SEED, "surprise"))
    runs = json.loads(json.dumps(RUNS))
    for run in runs:
        run["decodings"]["sampled"]["surprise"] = 1.5 + run["seed"]
    comparison = Comparison([1, 2], {MLE: runs[:2], BC: runs[2:4], SM: runs[4:]})
    table = measure("table6", comparison)
    assert table.find(SM, "sampled", "surprise").mean == 3 and ",surprise," in estimates_csv(table)
    page = pages.table_page("A title", table, comparison).markdown()
    assert "## surprise of the answer\n\n| method | surprise of the answer, sampled |\n" in page
    assert "| MLE | 3.0 ± 0.7 |" in page


# ---- errors older than one token --------------------------------------------------------------------


def of_seed(rows, pushes=3.0):
    """Metrics of a seed: at depth 0 all questions, at depth 2 those that are given."""
    return {"0": {"per_example": rows, "pushes": pushes}, "2": {"per_example": rows[1:], "pushes": pushes + 1}}


def test_older_errors_are_means_over_seeds_and_the_questions_that_all_of_them_measured():
    bc = [[[0, 1, 1], [1, 1, 0], [2, 0, 0]], [[0, 1, 0], [1, 0, 0], [2, 0, 0], [5, 1, 1]]]
    text = [[[0, 1, None], [1, 0, None], [2, 0, None]]] * 2
    by_rule = "greedy+takeback_ratio=0.3"
    runs = {BC: [{"older_errors": {"greedy": of_seed(rows)}} for rows in bc]}
    runs |= {MLE: [{"older_errors": {by_rule: of_seed(rows)}} for rows in text]}
    found = list(older_errors(Comparison([1, 2], runs)))
    cells = {(c.variant, c.decoding, c.quantity): c for c in found}
    expected = {
        "taken_back[0]": 1 / 2,
        "taken_back[2]": 1 / 4,
        "right_after_error[0]": 1 / 6,
        "tokens_after_error[2]": 4,
    }
    assert {name: cells[BC, "greedy", name].mean for name in expected} == pytest.approx(expected)
    assert all(0 <= c.low <= c.mean <= c.high <= 1 for c in found if c.low is not None)
    assert (MLE, by_rule, "right_after_error[0]") not in cells  # there is no right answer
    # On the page depths are in their order.
    grids = list(older_error_grids(Table("table6", found)).values())
    assert [len(grid.rows) for grid in grids] == [2, 1, 2]  # text has no right answers
    assert grids[0].header[2:] == ["0", "95% interval", "2", "95% interval"]
    assert older_error_grids(Table("table6", [])) == {}
