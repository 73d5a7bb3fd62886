"""Table 8 through the real command: numbers, what is said in words, the shown examples, and every refusal."""

import json
from functools import partial
from html.parser import HTMLParser

import pytest
from support.tables import a_run, assert_refused, made, make_table

DECODINGS = ("sampled", "temperature=0.9", "top_p=0.95", "min_p=0.05", "rejection=0.2")
ABOUT_BKSPC = ("bkspc_masked", "bkspc_bias=-1", "bkspc_bias=1")
SHOWN = {
    "example": 0,
    "prompt": "A <b>prompt</b> & its",
    "true": " end",
    "wrong": " spoon",
    "pieces": [
        [" spoon", "deleted"],
        [" end", "kept"],
        ["\n is", "deleted"],
        [" near.", "kept"],
    ],
    "answered_at_once": True,
    "rendered": " spoon<bkspc> end\n is<bkspc><bkspc> near.",
}
KEPT = SHOWN | {"example": 1, "pieces": [["\n", "kept"], ["s\x07 <i>", "kept"]], "answered_at_once": False,
                "rendered": "\ns\x07 <i>"}  # fmt: skip


def texts(perplexity: float) -> dict:
    return {"perplexity": perplexity, "entropy": {"1": 5.0, "2": 8.0, "3": 9.0}, "repetition": 0.1, "distinct": 0.6}


def metrics(method: str, eta: float, seed: int, mauve: float) -> dict:
    """The metrics of a run whose MAUVE grows by 0.01 with each decoding."""
    backspace = method != "mle"
    decodings = {
        name: texts(30.0 + 2 * i + seed) | {
            "mauve": mauve + 0.01 * i,
            "n": 4,
            "pops_per_sequence": 0.5 * (i + 1) if backspace else 0.0,
            "wrong_pop_share": None,
            "cut_off_share": 0.0,
        }
        for i, name in enumerate(DECODINGS + (ABOUT_BKSPC if backspace else ()))
    }  # fmt: skip
    rates = {"repair_rate": 0.6, "false_alarm_rate": 0.1}
    rates["per_example"] = {"corrupted": {"0": 0.5, "1": 0.7}, "clean": {"0": 0.1, "1": 0.1}}
    return a_run(method, eta, seed, decodings, task="text", family="text") | {
        "judge": {"model": f"mle/seed={3 - seed}", "description": "The MLE model of the next seed."},
        "held_out": {"nll": 3.5, "per_example": [3.0 + mauve, 3.5, 4.0 + 0.1 * seed, 3.4]},
        "held_out_given_no_deletion": {"nll": 3.4, "per_example": [3.0, 3.4, 3.9, 3.3]},
        "reference": texts(40.0 + seed),
        "repair": {"random": rates, "model": rates} if backspace else None,
    }


RUNS = [
    *(metrics("mle", 0.0, seed, 0.5 + 0.01 * seed) for seed in (1, 2)),
    *(metrics("bc", 0.2, seed, 0.5 + 0.01 * seed) for seed in (1, 2)),
    *(metrics("sm", 0.2, seed, 0.6 + 0.011 * seed) for seed in (1, 2)),
]


TITLE = "--title=Table 8: <bkspc> on text"


@pytest.fixture
def make(tmp_path):
    return partial(make_table, tmp_path)


@pytest.fixture
def made_of(tmp_path):
    return partial(made, tmp_path, shown=(SHOWN, KEPT))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The cells of the table of RUNS, and its pages by kind."""
    return made(tmp_path_factory.mktemp("table"), RUNS, TITLE, shown=(SHOWN, KEPT))


def test_hand_computed_cells(table):
    cells, _ = table
    mauve = cells["sm", "top_p=0.95", "mauve"]
    assert float(mauve["mean"]) == pytest.approx(0.6165 + 0.02) and mauve["low"] == ""
    assert float(cells["reference", "", "perplexity"]["mean"]) == 41.5
    assert float(cells["bc", "sampled", "entropy[2]"]["mean"]) == 8
    assert float(cells["sm", "", "repair_rate[model]"]["mean"]) == pytest.approx(0.6)
    assert ("mle", "bkspc_masked", "mauve") not in cells and ("mle", "", "repair_rate[model]") not in cells


def test_differences_of_mauve_are_paired_by_seed(table):
    """SM - MLE is 0.101 and 0.102: Student's interval of two seeds reaches 12.7 standard errors, here 0.00635."""
    cells, _ = table
    found = cells["sm", "sampled", "mauve_minus_mle"]
    assert [float(found[name]) for name in ("mean", "low", "high")] == pytest.approx(
        [0.1015, 0.1015 - 12.706 * 0.0005, 0.1015 + 12.706 * 0.0005], abs=2e-6
    )
    assert float(cells["sm", "sampled", "mauve_minus_mle[top_p=0.95]"]["mean"]) == pytest.approx(0.0815)
    assert float(cells["sm", "sampled", "mauve_minus_sm[bkspc_masked]"]["mean"]) == pytest.approx(-0.05)
    assert float(cells["sm", "", "held_out_nll_minus_mle"]["mean"]) == pytest.approx(0.1015 / 4)


def test_texts_of_a_rule_are_compared_with_other_methods_and_with_no_rule(made_of):
    names = {"temperature=0.9": "greedy", "top_p=0.95": "greedy+lookahead=0.75"}
    runs = [run | {"decodings": {names.get(d, d): of for d, of in run["decodings"].items()}} for run in RUNS]
    cells, _ = made_of(runs, TITLE)
    found = {name: cells["sm", "greedy+lookahead=0.75", f"mauve_minus_{name}"] for name in ("mle", "sm[greedy]")}
    assert {name: float(cell["mean"]) for name, cell in found.items()} == pytest.approx(
        {"mle": 0.1015, "sm[greedy]": 0.01}
    )


def test_pages_say_what_was_compared_and_what_it_supports(table):
    for kind in ("markdown", "html"):
        text = table[1][kind].replace("&lt;", "<").replace("&gt;", ">").replace("<code>", "`").replace("</code>", "`")
        assert "by `mle/seed=2` (seed 1), `mle/seed=1` (seed 2)" in text and "The MLE model of the next seed." in text
        assert "A perplexity below that of real text is not better" in text and "has none per question" in text
        assert "MAUVE, SM vs. MLE: significantly better with sampling (+0.10" in text
        assert "MAUVE, BC vs. MLE: no significant difference (largest of 1: 0.000)" in text
        assert "MAUVE, SM vs. SM with `<bkspc>` masked: significantly worse with sampling (-0.050" in text
        assert "MAUVE, SM vs. MLE with top-p 0.95: significantly better" in text
        assert text.count("1 of 2 answered at once") == 2
    rows = [line for line in table[1]["markdown"].splitlines() if line.startswith("| real text")]
    assert rows == ["| real text |  | 41.50 ± 0.71 | - | 5.00 ± 0.00 | 8.00 ± 0.00 | 9.00 ± 0.00 | 0.100 ± 0.000 | "
                    "0.600 ± 0.000 | - | - |"]  # fmt: skip


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps the texts inside each kind of element."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.inside: dict[str, list[str]] = {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "img", "link", "b", "i"), "nothing from outside, nothing from the texts"
        if tag != "meta":
            self.open.append(tag)
            self.inside.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.inside[tag][-1] += data


def test_html_is_whole_safe_and_marks_what_happened(table):
    page = Page(table[1]["html"])
    assert page.inside["del"] == ["deleted:  spoon", "deleted: ↵ is"] * 2
    assert page.inside["ins"] == ["written:  end", "written:  near."] * 2
    assert page.inside["mark"] == ["wrong token kept: ↵"] * 2
    assert any("s\N{REPLACEMENT CHARACTER} <i>" in text for text in page.inside["p"])
    assert not any("\x07" in text for text in table[1].values())
    assert any("A <b>prompt</b> & its" in text for text in page.inside["p"])
    assert page.inside["title"] == ["Table 8: <bkspc> on text"]


def test_markdown_shows_every_backspace(table):
    text = table[1]["markdown"]
    assert text.count("typed:   spoon<bkspc> end\n is<bkspc><bkspc> near.") == 2
    assert "### SM, η = 0.2: 1 of 2 answered at once with `<bkspc>`\n" in text and "A <b>prompt</b> & its" in text


def test_one_seed_has_no_interval(made_of):
    text = made_of([run for run in RUNS if run["seed"] == 1])[1]["markdown"]
    assert "MAUVE, SM vs. MLE: no interval from one seed (largest difference +0.101)." in text


def test_without_backspace_there_is_nothing_to_show(made_of):
    assert "no method of this table has `<bkspc>`" in made_of(RUNS[:2])[1]["markdown"]


def test_without_mauve_the_table_says_that_there_were_too_few_texts(made_of):
    runs = json.loads(json.dumps(RUNS))
    for run in runs:
        for decoding in run["decodings"].values():
            decoding["mauve"] = None
    cells, page = made_of(runs)
    assert "| too few texts |" in page["markdown"] and "nan" not in page["markdown"]
    assert not [quantity for _, _, quantity in cells if quantity.startswith("mauve")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"runs": [*RUNS[:-1], RUNS[-1] | {"judge": RUNS[0]["judge"]}]},
            "differ in the judge of seed 2 (mle/seed=1 against mle/seed=2)",
        ),
        ({"shown": [SHOWN, '{"exam\n']}, "line 2 of"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(make, changes, said):
    assert_refused(*make(**({"runs": RUNS, "shown": (SHOWN, KEPT)} | changes)), said)
