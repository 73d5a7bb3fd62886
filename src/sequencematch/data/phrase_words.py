"""The words of ``phrases``: tables of English and French words, and the French rules for joining them.

Names of countries, languages, currencies, months and weekdays are CLDR's. CLDR does not have the gender of names, so it
stands beside their codes in ``phrase_words.txt``. All other words are our own, and stand there too.
"""

import re
import unicodedata
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from babel import Locale
from babel.numbers import get_currency_name
from num2words import num2words

EN, FR = Locale("en"), Locale("fr")


class Pair(NamedTuple):
    """The same in both languages: a word, a phrase or a sentence."""

    en: str
    fr: str


def vowel(word: str) -> bool:
    """Whether ``de``, ``le`` and ``la`` are elided before ``word``, by its first letter: the tables hold no mute h."""
    return unicodedata.normalize("NFD", word)[0].lower() in "aeiou"


def elided(particle: str, word: str) -> str:
    """``de``, ``le`` or ``la`` before a word: de robes, d'écharpes."""
    return f"{particle[0]}'{word}" if vowel(word) else f"{particle} {word}"


def out_of(word: str) -> str:
    """``de`` with the article of a masculine word: du grec, de l'anglais."""
    return f"de l'{word}" if vowel(word) else f"du {word}"


def agreed(participle: str, gender: str, plural: bool = False) -> str:
    """A participle with its endings: acheté, achetée, achetés, achetées."""
    return participle + ("e" if gender == "f" else "") + ("s" if plural else "")


@cache
def number(value: int, gender: str = "m") -> Pair:
    """A cardinal number in words; the one French word among them that has a feminine is a final ``un``."""
    french = num2words(value, lang="fr")
    return Pair(num2words(value, lang="en"), re.sub(r"\bun$", "une", french) if gender == "f" else french)


@cache
def ordinal(value: int) -> Pair:
    """An ordinal number in words, the French one feminine."""
    # num2words writes quatre-vingtsième, with the s of the plural, which the ordinal does not have.
    french = num2words(value, lang="fr", to="ordinal").replace("vingtsième", "vingtième")
    return Pair(num2words(value, lang="en", to="ordinal"), "première" if value == 1 else french)


WITH_THE = {"AE", "BS", "GB", "MV", "NL", "PH", "US"}  # English: the Netherlands


def country(code: str, article: str) -> SimpleNamespace:
    """The country of a code of CLDR: ``plain``, ``within`` and ``away``, each a Pair.

    le Portugal, au Portugal, du Portugal; la France, en France, de France; l'Iran, en Iran, d'Iran. article: le, la,
    les or, where French uses none, empty.
    """
    en, fr = ("the " if code in WITH_THE else "") + EN.territories[code], FR.territories[code]
    plain = elided(article, fr) if article in ("le", "la") else f"{article} {fr}".strip()
    if article == "le" and vowel(fr):
        within, away = f"en {fr}", elided("de", fr)
    else:
        within = f"{({'': 'à', 'le': 'au', 'la': 'en', 'les': 'aux'})[article]} {fr}"
        away = {"le": f"du {fr}", "les": f"des {fr}"}.get(article) or elided("de", fr)
    return SimpleNamespace(plain=Pair(en, plain), within=Pair(f"in {en}", within), away=Pair(f"from {en}", away))


def amount(currency: SimpleNamespace, value: int) -> Pair:
    """forty-one British pounds, quarante et une livres sterling."""
    words = number(value, currency.gender)
    names = (get_currency_name(currency.code, value, locale) for locale in (EN, FR))
    return Pair(*(f"{word} {name}" for word, name in zip(words, names, strict=True)))


def _belonging(owner: SimpleNamespace, relative: SimpleNamespace) -> SimpleNamespace:
    """The relative with its possessive: my aunt, ma tante."""
    french = owner.feminine if relative.gender == "f" else owner.masculine
    return SimpleNamespace(en=f"{owner.en} {relative.en}", fr=f"{french} {relative.fr}", gender=relative.gender)


def _tables() -> dict[str, list[Any]]:
    """All that a sentence draws from, by name: ``phrase_words.txt`` (name and fields, then a word a line), CLDR."""
    text = Path(__file__).with_name("phrase_words.txt").read_text(encoding="utf-8")
    found: dict[str, list[Any]] = {}
    for table in text.strip().split("\n\n"):
        head, *rows = table.splitlines()
        name, *fields = head.split()
        cells = ([cell.strip() for cell in row.split("|")] for row in rows)
        found[name.strip("[]")] = [SimpleNamespace(**dict(zip(fields, row, strict=True))) for row in cells]

    def coded(name: str) -> list[tuple[SimpleNamespace, str]]:
        return [(row, code) for row in found[name] for code in row.codes.split()]

    found["countries"] = [country(code, row.article) for row, code in coded("countries")]
    found["currencies"] = [SimpleNamespace(code=code, gender=row.gender) for row, code in coded("currencies")]
    found["languages"] = [Pair(EN.languages[code], FR.languages[code]) for _, code in coded("languages")]
    found["people"] = [_belonging(owner, relative) for owner in found["owners"] for relative in found["relatives"]]
    found["months"] = [Pair(EN.months["format"]["wide"][n], FR.months["format"]["wide"][n]) for n in range(1, 13)]
    found["weekdays"] = [Pair(EN.days["format"]["wide"][n], FR.days["format"]["wide"][n]) for n in range(7)]
    return found


TABLES = _tables()
