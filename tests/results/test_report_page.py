"""The report: what its parts say, and the page itself, made by the real workflow and opened in a real browser."""

import json
import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from markupsafe import Markup, escape
from support.browser import CHROMIUM, Browser
from support.workflow import launch

from sequencematch.data.examples import load_examples
from sequencematch.data.tokenizer import load_tokenizer
from sequencematch.results import report
from sequencematch.results.estimates import Variant
from sequencematch.results.pages import Page, marked, render
from sequencematch.results.runs import Run, evaluated_split
from sequencematch.results.words import Grid, duration

# --------------------------------------------------------------------------------------------------
# Its parts
# --------------------------------------------------------------------------------------------------


def test_completions_are_marked_where_they_were_rewritten():
    typed = [("Du <b>\n", "kept"), (" 5\n", "deleted"), (" 7 mai\x07", "kept")]
    assert marked(typed) == (
        'Du &lt;b&gt;\n<del><span class="aloud">deleted: </span> 5↵</del>'
        '<ins><span class="aloud">written: </span> 7</ins> mai\N{REPLACEMENT CHARACTER}'
    )
    assert marked([("so", "kept")]) == "so" and "<mark>" in marked([("so", "kept")], damaged=True)


def test_a_page_stands_in_another_one_with_lower_headings():
    grids = {"Second": Grid(["a", "b"], [["c", "**d**"], ["`<h2>`", ""]])}
    page = Page("parts.md.j2", "Title", {"caption": "First", "grids": grids, "verdicts": []})
    assert page.markdown().startswith("# Title\n\nFirst\n\n## Second\n\n| a | b |\n| --- | --- |\n| c | **d** |\n")
    inner = page.part("", 4)
    assert re.findall(r"<(/?h\d)>", inner) == ["h4", "/h4"] and "Title" not in inner
    assert "<code>&lt;h2&gt;</code>" in inner and '<caption class="aloud">Second</caption>' in inner
    assert '<th scope="row">c</th>\n<td><strong>d</strong></td>' in inner


def test_the_split_is_the_one_that_was_sampled(tmp_path):
    run = Run("text", Variant("sm", 0.2), 1, tmp_path / "metrics.json", {})
    record = {
        "sha256": {},
        "commit": "abc",
        "uncommitted_changes": False,
        "options": {"evaluation.split": "validation"},
    }
    (tmp_path / "samples.jsonl.provenance.json").write_text(json.dumps(record))
    assert evaluated_split(run) == "validation"


def test_markdown_tables_have_captions_and_scopes():
    rendered = render(
        "# A title\n\n| a | b |\n|---|---|\n| c | <x> |\n\n[here](other.md) [there](https://example.org)\n", 3, "n"
    )
    assert (
        "<h3>A title</h3>" in rendered and '<caption class="aloud">A title</caption>' in rendered and "here" in rendered
    )
    assert '<th scope="col">a</th>' in rendered and '<th scope="row">c</th>' in rendered
    assert "<td>&lt;x&gt;</td>" in rendered and "other.md" not in rendered
    assert 'tabindex="0"' in rendered and 'href="https://example.org"' in rendered


def test_durations():
    assert [duration(s) for s in (0.82, 42.4, 185, 8040)] == ["0.8 s", "42 s", "3 min 5 s", "2 h 14 min"]


# --------------------------------------------------------------------------------------------------
# The page
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(smoke_copy):
    """The smoke scale with its report."""
    done = launch(smoke_copy, "report")
    assert done.returncode == 0, done.stdout + done.stderr
    return smoke_copy


@pytest.fixture(scope="module")
def page(tree):
    return tree / "results/smoke/report.html"


class Outline(HTMLParser):
    """Headings, and what each element with an id or a reference is."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.ids, self.links, self.images, self.external = [], [], [], [], []
        self.tables = self.captions = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        elif tag == "img" or tag == "svg":
            self.images.append(attributes.get("alt") or attributes.get("aria-label"))
        self.external += [
            v for n, v in attributes.items() if n in ("src", "srcset", "data", "poster") and v[:5] != "data:"
        ]
        self.tables += tag == "table"
        self.captions += tag == "caption"


@pytest.mark.slow
def test_the_page_is_well_built(page):
    text = page.read_text()
    outline = Outline(text)
    assert text.lstrip().startswith("<!DOCTYPE html>") and '<html lang="en">' in text
    assert outline.headings.count(1) == 1
    assert all(below <= above + 1 for above, below in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    assert outline.images and all(outline.images) and outline.tables == outline.captions > 5
    assert outline.external == [] and "@import" not in text and "url(http" not in text
    assert page.stat().st_size < 5_000_000


@pytest.mark.slow
def test_the_page_says_what_the_files_say(tree, page):
    text = page.read_text()
    for title in ("Table 6: accuracy on arithmetic__mul", "Divergences (smoke scale)"):
        assert f">{title}</h3>" in text and f">More of this table: {title}</summary>" in text
    run = tree / "results/smoke/mul/sm/eta=0.2/seed=1"
    assert json.loads((run / "metrics.json").read_text())["commit"] in text
    for record in map(json.loads, (run / "samples.jsonl").read_text().splitlines()[:4]):
        assert f'<span class="wanted">{record["solution"]}</span>' in text
    assert "<del>" in text and "test_the_oldest_leave_first" in text and "imitate_noise: true" in text
    assert "finetune" in text


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mul", "translation", "text"])
def test_completions_stand_below_their_prompts(tree, page, task):
    results, text = tree / "results/smoke" / task, page.read_text()
    tokenizer, (splits, _) = load_tokenizer(results / "tokenizer"), load_examples(results / "examples")
    for example in splits["test"][:4]:
        prompt = tokenizer.decode(example.prompt)
        assert prompt and escape(prompt) + Markup('<span class="wanted">{}</span>').format(example.text) in text


@pytest.mark.slow
def test_the_table_of_texts_stands_on_the_page(tree, page):
    """Its own page, all of it; and no token of a text is called wrong for not being the reference's."""
    results, text = tree / "results/smoke", page.read_text()
    rows = re.findall(r"<tr>.*?</tr>", (results / "tables/table8.html").read_text(), re.S)
    assert len(rows) > 10 and all(row in text for row in rows)
    assert text.count('class="shown"') == len((results / "text/sm/eta=0.2/seed=1/shown.jsonl").read_text().splitlines())
    drawn = {task: (results / f"figures/backspaces/{task}.svg").read_text() for task in ("mul", "text")}
    assert "wrong token" in drawn["mul"] and "wrong token" not in drawn["text"]


@pytest.mark.slow
def test_a_new_style_makes_the_page_again_and_nothing_else(tree):
    assert "Nothing to be done" in (done := launch(tree, "report", "--dry-run")).stdout + done.stderr
    source = (tree / "src").resolve()
    (tree / "src").unlink()
    shutil.copytree(source, tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    with (tree / "src/sequencematch/results/templates/report.css").open("a") as style:
        style.write("\n.new { color: red; }\n")
    done = launch(tree, "report", "--dry-run")
    planned = set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.M))
    assert planned == {"make_table", "make_report", "report"}  # all pages have their templates in one folder


# WCAG 2's contrast of every visible text against the first opaque background behind it.
CONTRAST = """
(() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const found = channels(getComputedStyle(element).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = channels(element.closest('svg') ? style.fill : style.color);
    const bar = element.classList.contains('bar') && element.querySelector('span');
    const paper = bar ? channels(getComputedStyle(bar).backgroundColor) : behind(element);
    const [light, dark] = [luminance(ink), luminance(paper)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    seen += 1;
    if (ratio < 4.5) poor.add(`${element.tagName} ${walker.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return {seen, poor: [...poor]};
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_in_a_browser(browser, page, dark):
    """Nothing is logged, nothing is fetched, and every text can be read."""
    browser.open(page, dark=dark)
    assert browser.named("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown") == []
    asked = [event["request"]["url"] for event in browser.named("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") != dark
    contrast = browser.evaluate(CONTRAST)
    assert contrast["poor"] == [] and contrast["seen"] > 300


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 768, 1400])
def test_the_page_fits_its_window(browser, page, width):
    browser.open(page, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider scrolls in a box that the keyboard reaches.
    reached = "[...document.querySelectorAll('.scroll')].every(box => box.tabIndex === 0 && box.ariaLabel)"
    assert browser.evaluate(reached)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1400, 900)])
def test_the_first_screen_answers(browser, page, width, height):
    browser.open(page, width=width)
    bottom = "document.querySelector('#answer').nextElementSibling.getBoundingClientRect().bottom"
    assert browser.evaluate(bottom) < height


@pytest.mark.slow
def test_a_wide_table_keeps_its_first_column_and_its_header_in_sight(browser, page):
    browser.open(page, width=390)
    moved = browser.evaluate(
        "(() => {"
        " const box = [...document.querySelectorAll('.scroll')].find(box => box.scrollWidth > box.clientWidth + 50);"
        " const name = box.querySelector('tbody th'), before = name.getBoundingClientRect().left;"
        " box.scrollLeft = 50;"
        " const header = getComputedStyle(box.querySelector('thead th')).position;"
        " return [box.scrollLeft, name.getBoundingClientRect().left - before, header]; })()"
    )
    assert moved == [50, 0, "sticky"]


@pytest.mark.slow
def test_the_page_prints(browser, page):
    browser.open(page, dark=True)
    assert browser.pdf().startswith(b"%PDF-")
    browser.open(page, width=690, dark=True, media="print")  # about A4 less its margins
    assert browser.evaluate("getComputedStyle(document.body).color") == "rgb(31, 35, 40)"
    assert browser.evaluate("document.documentElement.scrollWidth") <= 690
    widest = "Math.max(...[...document.querySelectorAll('table, svg, img')].map(e => e.getBoundingClientRect().right))"
    assert browser.evaluate(widest) <= 692


def test_the_report_draws_the_first_dead_end_of_cloning(tmp_path, monkeypatch):
    question, walked = "5:52|43|51|2G|3X|14=", "143<bkspc><bkspc><bkspc>2<eos>"
    record = {"example": 0, "text": "2", "solution": "2", "rendered": walked}
    runs = [SimpleNamespace(family=family, variant=SimpleNamespace(family="bc")) for family in ("text", "graphs")]
    tokenizer = SimpleNamespace(decode="".join)
    monkeypatch.setattr(report, "_asked", lambda *_: (tokenizer, [SimpleNamespace(prompt=question)]))
    monkeypatch.setattr(report, "read_records", lambda run, decoding: iter([record]))
    assert report._dead_end(runs[:1], tmp_path) == ""
    drawn = report._dead_end(runs, tmp_path)
    assert "<svg" in drawn and 'aria-label="A wrong arm of a graph is walked' in drawn and 'id="dead-end-' in drawn
