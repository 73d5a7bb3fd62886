"""Pairs out of pages of the same structure."""

import random
import subprocess
import sys
import time

import pytest
from support.experiment import SOURCE

from sequencematch.data.markup import extract_pairs, texts_of
from sequencematch.errors import UserError

PAGE = (
    '<html><head><title>{0}</title></head><body><div class="section"><h2>{1}</h2>'
    '<div class="para">\n {2} <code>ls\n</code>.'
    "</div><pre>{3}</pre><ul><li>{4}<li>{5} &amp; co</ul><p>{6}</p></div></body></html>"
)
ENGLISH = ["Head", "Chapter one", "Type the command", "code", "a list", "an item", "These five words stay as"]
FRENCH = ["Tête", "Chapitre un", "Tapez la commande", "code two", "une liste", "Objet", "These five words stay comme"]
PAIRS = [
    ("Chapter one", "Chapitre un"),
    ("Type the command ls .", "Tapez la commande ls ."),
    ("an item & co", "Objet & co"),
    ("a list", "une liste"),
]


def pages(folder, **sides):
    for side, texts in sides.items():
        for name, text in texts.items():
            (folder / side).mkdir(exist_ok=True)
            (folder / side / name).write_text(text)
    return folder


def test_pages_that_correspond_give_their_translated_texts(tmp_path):
    english = {"a.html": PAGE.format(*ENGLISH), "b.html": "<p>Not the same</p>", "c.html": "<p>alone here</p>"}
    french = {"a.html": PAGE.format(*FRENCH), "b.html": "<p>Pas la même</p><p>structure</p>"}
    folder = pages(tmp_path, en=english, fr=french)
    pairs, left_out = extract_pairs(folder, ("en/*.html", "fr/*.html"))
    assert pairs == PAIRS
    assert left_out == {"pages of another structure": 1, "untranslated texts": 1, "single words": 0}
    words = ["--pages", "en/*.html", "fr/*.html", "--files", folder, "--output", tmp_path / "pairs.tsv"]
    done = subprocess.run([sys.executable, SOURCE / "extract_pairs.py", *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr.split(";")[0]) == (0, "4 pairs")
    assert (tmp_path / "pairs.tsv").read_text() == "".join(f"{en}\t{fr}\n" for en, fr in PAIRS)


def test_xml_with_prefixes_and_translators_credits_is_read_as_well(tmp_path):
    page = "<page><info><desc>{}</desc>{}</info><title>{}</title><p>{} <gui/><gui>X</gui></p></page>"
    credit = "<mal:credit><mal:name>N. N.</mal:name></mal:credit>"
    english = page.format("What it is", "", "A title", "Click on")
    french = page.format("Ce que c’est", credit, "Un titre", "Cliquez sur")
    assert [text for _, text in texts_of(french)] == ["Ce que c’est", "", "Un titre", "Cliquez sur X", ""]
    folder = pages(tmp_path, C={"a.page": english}, fr={"a.page": french})
    expected = [("What it is", "Ce que c’est"), ("A title", "Un titre"), ("Click on X", "Cliquez sur X")]
    assert extract_pairs(folder, ("C/*.page", "fr/*.page"))[0] == expected


def test_no_pairs_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no pages of the same structure for en/. and fr/.: correct inside"):
        extract_pairs(tmp_path, ("en/*", "fr/*"))
    with pytest.raises(UserError, match="name two patterns of pages in inside"):
        extract_pairs(tmp_path, ("en/*",))


def test_a_declaration_that_nobody_knows_is_a_comment():
    assert texts_of("<p>one <![if IE]>two<![endif]></p><p>three</p>") == [("p.", "one two"), ("p.", "three")]
    assert texts_of("<p>one</p><![") == [("p.", "one")]


def test_long_paragraphs_are_compared_in_linear_time(tmp_path):
    draw = random.Random(0)
    first, second = ([" ".join(draw.choice(words) for _ in range(20_000))] for words in ("ab", "cd"))
    english = {"a.html": f"<p>{first[0]}</p>", "b.html": f"<p>{first[0]}</p>"}
    french = {"a.html": f"<p>{second[0]}</p>", "b.html": f"<p>{first[0][::-1]}</p>"}
    start = time.process_time()
    pairs, left_out = extract_pairs(pages(tmp_path, en=english, fr=french), ("en/*.html", "fr/*.html"))
    assert pairs == [(first[0], second[0])] and left_out["untranslated texts"] == 1
    assert time.process_time() - start < 15
