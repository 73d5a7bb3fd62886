"""Phrases are distinct and reproducible, and say the same in both languages.

The corpus was read once as a whole by rules of its own (every number, date, name and agreement of 20,000 pairs; this
file in the history). Since then its digest holds it.
"""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from itertools import islice

import pytest

from sequencematch.data import phrases as module
from sequencematch.data.phrase_words import Pair
from sequencematch.data.phrases import phrases
from sequencematch.errors import UserError

COUNT = 5_000
VERSIONS = {"babel": "2.18.0", "num2words": "0.5.14"}  # other ones may know other names
DIGEST = "5468e1c412f84b0f862af476b431f8b601754b86609c76a1a1bdd0ad188222b5"


@pytest.fixture(scope="module")
def pairs():
    return list(islice(phrases(0), COUNT))


@pytest.mark.skipif({name: version(name) for name in VERSIONS} != VERSIONS, reason="names of other versions of CLDR")
def test_the_corpus_is_the_one_that_was_read(pairs):
    assert hashlib.sha256(repr(pairs[:2000]).encode()).hexdigest() == DIGEST


def test_no_sentence_comes_twice_and_templates_are_equally_likely(pairs):
    drawn = [module.Draw(0, index).integer(0, len(module.TEMPLATES) - 1) for index in range(COUNT)]
    counts = Counter(drawn)
    assert len(counts) == len(module.TEMPLATES)
    assert all(abs(n * len(counts) / COUNT - 1) < 0.2 for n in counts.values())
    for side in zip(*pairs, strict=True):
        assert len(set(side)) > 0.99 * COUNT
    assert len({english for english, _ in pairs}) == COUNT


def test_the_seed_alone_decides_and_longer_streams_begin_alike(pairs):
    assert list(islice(phrases(0), 100)) == pairs[:100]
    script = (
        "from itertools import islice; from sequencematch.data.phrases import phrases; "
        "print(list(islice(phrases(3), 300)))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == str(list(islice(phrases(3), 300)))
    assert not set(islice(phrases(3), 300)) & set(islice(phrases(4), 300))


def test_both_sides_have_the_same_numerals(pairs):
    """Of dates, times, prices, measures and shares; hours of the half day are counted on to 24."""

    def numerals(sentence):
        later = re.sub(r"(\d+)(:\d\d) PM", lambda time: f"{int(time[1]) % 12 + 12}{time[2]}", sentence)
        return sorted(n.lstrip("0").replace(",", ".") for n in re.findall(r"\d+(?:[.,:]\d+)?", later))

    found = [(numerals(english), numerals(french)) for english, french in pairs]
    assert all(english == french for english, french in found) and sum(map(bool, found)) == COUNT


def test_an_exhausted_grammar_says_so(monkeypatch):
    monkeypatch.setitem(module.TABLES, "pairs", [("one", "un"), ("two", "deux")])
    monkeypatch.setattr(module, "TEMPLATES", [lambda draw: Pair(*draw.one("pairs"))])
    stream = phrases(0)
    assert {next(stream), next(stream)} == {("One", "Un"), ("Two", "Deux")}
    with pytest.raises(UserError, match="about 2 sentences"):
        next(stream)
