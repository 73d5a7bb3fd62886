"""Phrases are distinct and reproducible, correct French by the rules of its tables, and say the same in both languages.

The corpus was read once as a whole by rules of its own (every number, date, name and agreement of 20,000 pairs; this
file in the history). Since then its digest holds it, and the rules are tested where they are.
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
from sequencematch.data.phrase_words import TABLES, Pair, agreed, number, ordinal
from sequencematch.data.phrases import phrases
from sequencematch.errors import UserError

COUNT = 5_000
VERSIONS = {"babel": "2.18.0", "num2words": "0.5.14"}  # other ones may know other names
DIGEST = "5468e1c412f84b0f862af476b431f8b601754b86609c76a1a1bdd0ad188222b5"
# The first draw of each template.
FIRST = """\
On Sunday, February 10, 2036, the cheapest ticket to Thailand costs four Indonesian rupiahs.
Le dimanche 10 février 2036, le billet le moins cher pour la Thaïlande coûte quatre roupies indonésiennes.
Our sister was born on February 3, 1948, and lives in Thailand.
Notre sœur est née le 3 février 1948 et vit en Thaïlande.
In Sweden, 25% of the tourists learn Swahili.
En Suède, 25 % des touristes apprennent le swahili.
The meeting with your grandmother ends at 6:00 PM on Thursday.
La réunion avec votre grand-mère se termine jeudi à 18:00.
Your grandmother's red shelf is 2.1 centimeters high.
L'étagère rouge de votre grand-mère fait 2,1 centimètres de haut.
I bought two green candles and a blue skirt for $18.45.
J'ai acheté deux bougies vertes et une jupe bleue pour 18,45 $US.
Our sister finished in twenty-fourth place in the November race in Serbia.
Notre sœur a terminé à la vingt-quatrième place de la course de novembre en Serbie.
In October 2005, forty-nine Indonesian rupiahs were worth fourteen Indian rupees.
En octobre 2005, quarante-neuf roupies indonésiennes valaient quatorze roupies indiennes.
From March 28 to October 21, the restaurant is open on Thursdays.
Du 28 mars au 21 octobre, le restaurant est ouvert le jeudi.
This speech was translated from Spanish into Swahili by my brother in 1986.
Ce discours a été traduit de l'espagnol en swahili par mon frère en 1986.
In October, the average temperature in Mali is 33.9 degrees Celsius.
En octobre, la température moyenne au Mali est de 33,9 degrés Celsius.
The journey from Russia to Mali takes 38 hours and 5 minutes.
Le voyage de Russie au Mali dure 38 heures et 5 minutes.
How many red shelves did your grandmother buy in Thailand in January?
Combien d'étagères rouges votre grand-mère a-t-elle achetées en Thaïlande en janvier ?
My neighbors do not sell white candles before 6:00 PM on Thursdays.
Mes voisins ne vendent pas de bougies blanches le jeudi avant 18:00.
"""


@pytest.fixture(scope="module")
def pairs():
    return list(islice(phrases(0), COUNT))


@pytest.mark.skipif({name: version(name) for name in VERSIONS} != VERSIONS, reason="names of other versions of CLDR")
def test_the_corpus_is_the_one_that_was_read(pairs):
    first = [module._finished(side) for template in module.TEMPLATES for side in template(module.Draw(0, 0))]
    assert first == FIRST.splitlines()
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


def test_spelling_and_length(pairs):
    for sentence in (sentence for pair in pairs for sentence in pair):
        assert sentence[0].isupper() and sentence[-1] in ".?"
        assert "  " not in sentence and not re.search(r"[{}’\xa0\u202f_]", sentence)
        assert re.fullmatch(r"[\w ,.:;?'%€$-]+", sentence)
        assert 5 <= len(sentence.split()) <= 20


def test_both_sides_have_the_same_numerals(pairs):
    """Of dates, times, prices, measures and shares; hours of the half day are counted on to 24."""

    def numerals(sentence):
        later = re.sub(r"(\d+)(:\d\d) PM", lambda time: f"{int(time[1]) % 12 + 12}{time[2]}", sentence)
        return sorted(n.lstrip("0").replace(",", ".") for n in re.findall(r"\d+(?:[.,:]\d+)?", later))

    found = [(numerals(english), numerals(french)) for english, french in pairs]
    assert all(english == french for english, french in found) and sum(map(bool, found)) == COUNT


def test_elision(pairs):
    """Before every vowel but that of onzième, and nowhere else."""
    vowel = "[aeiouàâéèêëîïôœùû]"
    for _, french in pairs:
        assert not re.search(rf"\b(?:de|le|la|je|ne) (?!onzième){vowel}", french, re.IGNORECASE), french
        assert not re.search(rf"\b[dlj]'(?!{vowel})", french, re.IGNORECASE), french


MASCULINE = set(
    "bag basket bicycle book bowl coat curtain hat knife mirror pen pencil pillow rug umbrella "
    "novel poem speech tale brother father grandfather nephew son uncle market museum restaurant shop".split()
)


def test_genders_and_forms_of_the_tables():
    nouns = [noun for table in ("things", "writings", "relatives", "houses") for noun in TABLES[table]]
    assert {noun.en.split()[-1] for noun in nouns if noun.gender == "m"} == MASCULINE
    assert {noun.gender for noun in nouns} == {"m", "f"}
    for adjective in TABLES["adjectives"]:
        assert adjective.agreed("m", True)[-1] == adjective.agreed("f", True)[-1] == "s"
        assert adjective.feminine[-1] == "e" and adjective.en[0] not in "aeiou"  # a, not an
    assert [agreed("acheté", *form) for form in (("m",), ("f",), ("m", True), ("f", True))] == [
        *("acheté", "achetée", "achetés", "achetées")
    ]
    people = {person.en: person.fr for person in TABLES["people"]}
    assert (people["my aunt"], people["his aunt"], people["her uncle"]) == ("ma tante", "sa tante", "son oncle")


def test_gender_of_amounts():
    for currency in TABLES["currencies"]:
        one, name = re.fullmatch(r"quarante et (une?) (\w+).*", currency.amount(41).fr).groups()
        assert (one == "une") == (name in ("couronnes", "livres", "roupies", "hryvnias"))


def test_articles_and_prepositions_of_countries():
    forms = {country.fr: (country.plain, country.within, country.away) for country in TABLES["countries"]}
    for expected in [
        ("Portugal", "le Portugal", "au Portugal", "du Portugal"),
        ("Grèce", "la Grèce", "en Grèce", "de Grèce"),
        ("Italie", "l'Italie", "en Italie", "d'Italie"),
        ("Équateur", "l'Équateur", "en Équateur", "d'Équateur"),
        ("Pays-Bas", "les Pays-Bas", "aux Pays-Bas", "des Pays-Bas"),
        ("Cuba", "Cuba", "à Cuba", "de Cuba"),
    ]:
        assert (expected[0], *(form.fr for form in forms[expected[0]])) == expected
    assert forms["Pays-Bas"][1].en == "in the Netherlands"


def test_numbers_that_the_library_writes_otherwise():
    assert [number(n, "f").fr for n in (1, 21, 71, 81)] == [
        "une",
        "vingt et une",
        "soixante et onze",
        "quatre-vingt-une",
    ]
    assert [ordinal(n).fr for n in (1, 21, 80)] == ["première", "vingt et unième", "quatre-vingtième"]
    assert len({ordinal(n) for n in range(1, 100)} | {number(n) for n in range(1, 100)}) == 198


def test_an_exhausted_grammar_says_so(monkeypatch):
    monkeypatch.setitem(module.TABLES, "pairs", [("one", "un"), ("two", "deux")])
    monkeypatch.setattr(module, "TEMPLATES", [lambda draw: Pair(*draw.one("pairs"))])
    stream = phrases(0)
    assert {next(stream), next(stream)} == {("One", "Un"), ("Two", "Deux")}
    with pytest.raises(UserError, match="about 2 sentences"):
        next(stream)
