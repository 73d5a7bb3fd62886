"""The words of ``phrases``: tables of English and French words, and the French rules for joining them.

Names of countries, languages, currencies, months and weekdays are CLDR's. CLDR does not have the gender of names, so it
stands beside their codes in ``phrase_words.txt``. All other words are our own, and stand there too.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from babel import Locale
from babel.numbers import get_currency_name
from num2words import num2words

EN, FR = Locale("en"), Locale("fr")


class Pair(NamedTuple):
    """The same in both languages: a word, a phrase or a sentence."""

    en: str
    fr: str


# ---- Rules ----


def vowel(word: str) -> bool:
    """Whether ``de``, ``le`` and ``la`` are elided before ``word``.

    The first letter decides: the tables hold no mute h, and no word before whose vowel nothing is elided.
    """
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
    """An ordinal number in words, the French one feminine.

    num2words writes quatre-vingtsième, with the s of the plural, which the ordinal does not have.
    """
    french = num2words(value, lang="fr", to="ordinal").replace("vingtsième", "vingtième")
    return Pair(num2words(value, lang="en", to="ordinal"), "première" if value == 1 else french)


# ---- CLDR's names, with what French grammar asks for ----


@dataclass(frozen=True)
class Country:
    """A country's names; ``article`` is le, la, les or, where French uses none, empty."""

    en: str
    fr: str
    article: str

    @property
    def plain(self) -> Pair:
        """Portugal, le Portugal."""
        if self.article in ("le", "la"):
            return Pair(self.en, elided(self.article, self.fr))
        return Pair(self.en, f"{self.article} {self.fr}".strip())

    @property
    def within(self) -> Pair:
        """in France, en France; au Portugal, aux Pays-Bas, à Cuba."""
        preposition = {"": "à", "le": "au", "la": "en", "les": "aux"}[self.article]
        if self.article == "le" and vowel(self.fr):
            preposition = "en"
        return Pair(f"in {self.en}", f"{preposition} {self.fr}")

    @property
    def away(self) -> Pair:
        """from France, de France; d'Italie, du Portugal, des Pays-Bas, de Cuba."""
        contracted = {"le": "du", "les": "des"}.get(self.article)
        if contracted is None or (self.article == "le" and vowel(self.fr)):
            return Pair(f"from {self.en}", elided("de", self.fr))
        return Pair(f"from {self.en}", f"{contracted} {self.fr}")


WITH_THE = {"AE", "BS", "GB", "MV", "NL", "PH", "US"}  # English: the Netherlands


def country(code: str, article: str) -> Country:
    """The country of a code of CLDR."""
    return Country(("the " if code in WITH_THE else "") + EN.territories[code], FR.territories[code], article)


@dataclass(frozen=True)
class Currency:
    """A currency: its code, and the gender of its French name (``m`` or ``f``)."""

    code: str
    gender: str

    def amount(self, value: int) -> Pair:
        """forty-one British pounds, quarante et une livres sterling."""
        words = number(value, self.gender)
        return Pair(
            f"{words.en} {get_currency_name(self.code, value, EN)}",
            f"{words.fr} {get_currency_name(self.code, value, FR)}",
        )


# ---- Our own words ----


class Noun(NamedTuple):
    """A noun in both languages, with its French gender (``m`` or ``f``)."""

    en: str
    fr: str
    gender: str


class Countable(NamedTuple):
    """A noun with its plurals in both languages, and its French gender (``m`` or ``f``)."""

    en: str
    en_plural: str
    fr: str
    fr_plural: str
    gender: str


class Adjective(NamedTuple):
    """Follows its noun in French."""

    en: str
    masculine: str
    feminine: str

    def agreed(self, gender: str, plural: bool = False) -> str:
        """The French form for a noun of this gender (``m`` or ``f``) and number."""
        singular = self.feminine if gender == "f" else self.masculine
        return singular + "s" if plural and not singular.endswith("s") else singular


class Owner(NamedTuple):
    """my, with the French for what is masculine or feminine; his and her are the same there."""

    en: str
    masculine: str
    feminine: str

    def of(self, relative: Noun) -> Noun:
        """The relative with its possessive, as in 'my aunt'."""
        french = self.feminine if relative.gender == "f" else self.masculine
        return Noun(f"{self.en} {relative.en}", f"{french} {relative.fr}", relative.gender)


class Codes(NamedTuple):
    """Codes of CLDR, and what they have in common: a French article of countries, a gender of currencies."""

    common: str
    codes: str


class Measure(NamedTuple):
    """What is said of a thing with an amount of a unit of CLDR."""

    en: str
    fr: str
    unit: str


KINDS: dict[str, type] = {
    "things": Countable,
    "adjectives": Adjective,
    "owners": Owner,
    "relatives": Noun,
    "writings": Noun,
    "houses": Noun,
    "measures": Measure,
    "countries": Codes,
    "languages": Codes,
    "currencies": Codes,
}


def _tables() -> dict[str, list[Any]]:
    """The tables of ``phrase_words.txt`` by name: a word or pair of words a line, its fields parted by ``|``."""
    text = Path(__file__).with_name("phrase_words.txt").read_text(encoding="utf-8")
    found = {}
    for table in text.strip().split("\n\n"):
        name, *rows = table.splitlines()
        kind = KINDS.get(name.strip("[]"), Pair)
        found[name.strip("[]")] = [kind(*(cell.strip() for cell in row.split("|"))) for row in rows]
    found["countries"] = [country(code, row.common) for row in found["countries"] for code in row.codes.split()]
    found["currencies"] = [Currency(code, row.common) for row in found["currencies"] for code in row.codes.split()]
    codes = [code for row in found["languages"] for code in row.codes.split()]
    found["languages"] = [Pair(EN.languages[code], FR.languages[code]) for code in codes]
    return found


# All that a sentence draws from, by name.
TABLES = _tables()
TABLES |= {
    "people": [owner.of(relative) for owner in TABLES["owners"] for relative in TABLES["relatives"]],
    "months": [Pair(EN.months["format"]["wide"][n], FR.months["format"]["wide"][n]) for n in range(1, 13)],
    "weekdays": [Pair(EN.days["format"]["wide"][n], FR.days["format"]["wide"][n]) for n in range(7)],
}
