"""English-French sentence pairs composed by a small grammar: a translation corpus for any machine.

Why a grammar: its sentences are correct by construction, as many as one wants, the same on every machine, and need
no download. What is hard in them is kept by others: names of countries, languages, currencies, months and weekdays,
the forms of dates, times, amounts and measures are the Unicode CLDR's (Unicode Licence), through ``babel`` (BSD);
numbers in words are those of ``num2words`` (LGPL, used as a library). The texts follow the versions of both.

A sentence is one of ``TEMPLATES``, each as likely as the others. A template draws its slots from the tables of
``phrase_words`` and writes them into an English and a French pattern. French also needs the gender of words,
which the tables have. The rest follows by rule: articles and prepositions of countries, elision, the feminine of
numbers, the agreement of adjectives and participles. For instance:

    Her aunt's gray suitcase weighs 12.5 kilograms.
    La valise grise de sa tante pèse 12,5 kilogrammes.

English is American, as CLDR's ``en`` is. CLDR's no-break spaces are written as plain spaces, its apostrophes as
``'``, and the first of a French month is ``1er``, as one writes it (CLDR has ``1``). The combinations are many
millions; the smallest template alone has half a million.
"""

import datetime
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_currency, format_percent
from babel.units import format_unit

from sequencematch.data.phrase_words import EN, FR, TABLES, Pair, agreed, amount, elided, number, ordinal, out_of
from sequencematch.errors import UserError
from sequencematch.seeding import generator

PATIENCE = 10_000  # draws in a row without a new sentence after which the grammar counts as exhausted
TABLES["days"] = [datetime.date(2027, 1, 1) + datetime.timedelta(days=days) for days in range(365)]  # any year will do
PLAIN = str.maketrans({"\u00a0": " ", "\u202f": " ", "’": "'"})  # spaces and apostrophes


class Draw:
    """The random choices of one sentence."""

    def __init__(self, seed: int, index: int):
        self._random = generator(seed, "phrase", index)

    def integer(self, low: int, high: int) -> int:
        """An integer of low .. high, both included."""
        return int(self._random.integers(low, high + 1))

    def one(self, table: str) -> Any:
        """One entry of a table, all equally likely."""
        return TABLES[table][self.integer(0, len(TABLES[table]) - 1)]

    def two(self, table: str) -> list[Any]:
        """Two different entries, in either order."""
        return [TABLES[table][place] for place in self._random.choice(len(TABLES[table]), 2, replace=False)]

    def date(self, first_year: int, last_year: int) -> datetime.date:
        """A date from the first day of ``first_year`` to the last of ``last_year``, all equally likely."""
        first, last = datetime.date(first_year, 1, 1), datetime.date(last_year, 12, 31)
        return datetime.date.fromordinal(self.integer(first.toordinal(), last.toordinal()))

    def time(self) -> Pair:
        """A time of the waking day, in steps of five minutes: 2:30 PM, 14:30."""
        time = datetime.time(self.integer(6, 21), 5 * self.integer(0, 11))
        return Pair(*(format_time(time, "short", locale=locale) for locale in (EN, FR)))


def phrases(seed: int) -> Iterator[tuple[str, str]]:
    """An endless stream of (English, French) sentences, no English one twice. Draw k depends on ``seed`` and k alone.

    Raises UserError where the grammar yields nothing new any more.
    """
    seen: set[str] = set()
    fruitless = 0
    for index in count():
        draw = Draw(seed, index)
        sentences = TEMPLATES[draw.integer(0, len(TEMPLATES) - 1)](draw)
        english, french = ((text[0].upper() + text[1:]).translate(PLAIN) for text in sentences)
        if english not in seen:
            seen.add(english)
            fruitless = 0
            yield english, french
        elif (fruitless := fruitless + 1) == PATIENCE:
            raise UserError(f"source 'phrases' has no more than about {len(seen)} sentences: ask for fewer pairs")


def _first(french_date: str) -> str:
    """CLDR's 1 mars as one writes it: 1er mars."""
    return re.sub(r"\b1 ", "1er ", french_date)


def _date(date: datetime.date, style: str) -> Pair:
    """A date with year, ``full`` (with weekday) or ``long``."""
    return Pair(format_date(date, style, locale=EN), _first(format_date(date, style, locale=FR)))


def _day(date: datetime.date) -> Pair:
    """A date without year: March 1, 1er mars."""
    return Pair(format_skeleton("MMMMd", date, locale=EN), _first(format_skeleton("MMMMd", date, locale=FR)))


def _measure(value: float, unit: str) -> Pair:
    """An amount of a unit of CLDR: 12.5 kilograms, 12,5 kilogrammes."""
    return Pair(*(format_unit(value, unit, "long", locale=locale) for locale in (EN, FR)))


def _such(draw: Draw, thing: Any, plural: bool = False) -> Pair:
    """A thing or things and an adjective, without article: gray suitcase, valises grises."""
    adjective = draw.one("adjectives")
    english, french = (thing.en_plural, thing.fr_plural) if plural else (thing.en, thing.fr)
    agreeing = adjective.feminine if thing.gender == "f" else adjective.masculine
    return Pair(f"{adjective.en} {english}", f"{french} {agreeing}{'s' * (plural and agreeing[-1] != 's')}")


def fare(draw: Draw) -> Pair:
    day, passage, country = _date(draw.date(2020, 2039), "full"), draw.one("passages"), draw.one("countries").plain
    price = amount(draw.one("currencies"), draw.integer(2, 99))
    return Pair(
        f"On {day.en}, {passage.en} to {country.en} costs {price.en}.",
        f"Le {day.fr}, {passage.fr} pour {country.fr} coûte {price.fr}.",
    )


def birth(draw: Draw) -> Pair:
    person, day, country = draw.one("people"), _date(draw.date(1930, 2005), "long"), draw.one("countries").within
    return Pair(
        f"{person.en} was born on {day.en}, and lives {country.en}.",
        f"{person.fr} est {agreed('né', person.gender)} le {day.fr} et vit {country.fr}.",
    )


def speakers(draw: Draw) -> Pair:
    country, share, language = draw.one("countries").within, draw.integer(2, 99) / 100, draw.one("languages")
    group, know = draw.one("groups"), draw.one("knowing")
    return Pair(
        f"{country.en}, {format_percent(share, locale=EN)} of the {group.en} {know.en} {language.en}.",
        f"{country.fr}, {format_percent(share, locale=FR)} des {group.fr} {know.fr} {elided('le', language.fr)}.",
    )


def appointment(draw: Draw) -> Pair:
    event, person, bound, time = draw.one("events"), draw.one("people"), draw.one("bounds"), draw.time()
    weekday = draw.one("weekdays")
    return Pair(
        f"{event.en} with {person.en} {bound.en} at {time.en} on {weekday.en}.",
        f"{event.fr} avec {person.fr} {bound.fr} {weekday.fr} à {time.fr}.",
    )


def size(draw: Draw) -> Pair:
    thing, person, said = draw.one("things"), draw.one("people"), draw.one("measures")
    such, measured = _such(draw, thing), _measure(draw.integer(11, 399) / 10, said.unit)
    the_such = elided("la" if thing.gender == "f" else "le", such.fr)
    return Pair(
        f"{person.en}'s {such.en} {said.en.format(measured.en)}.",
        f"{the_such} de {person.fr} {said.fr.format(measured.fr)}.",
    )


def purchase(draw: Draw) -> Pair:
    buyer, (many, one) = draw.one("buyers"), draw.two("things")
    count, some, other = number(draw.integer(2, 20), many.gender), _such(draw, many, plural=True), _such(draw, one)
    price, currency = draw.integer(200, 9999) / 100, ("EUR", "USD")[draw.integer(0, 1)]
    return Pair(
        f"{buyer.en} bought {count.en} {some.en} and a {other.en} for {format_currency(price, currency, locale=EN)}.",
        f"{buyer.fr} acheté {count.fr} {some.fr} et {number(1, one.gender).fr} {other.fr} pour "
        f"{format_currency(price, currency, locale=FR)}.",
    )


def race(draw: Draw) -> Pair:
    person, place, month = draw.one("people"), ordinal(draw.integer(1, 99)), draw.one("months")
    country = draw.one("countries").within
    return Pair(
        f"{person.en} finished in {place.en} place in the {month.en} race {country.en}.",
        f"{person.fr} a terminé à la {place.fr} place de la course {elided('de', month.fr)} {country.fr}.",
    )


def exchange(draw: Draw) -> Pair:
    month, year = draw.one("months"), draw.integer(1999, 2024)
    one, other = (amount(currency, draw.integer(2, 99)) for currency in draw.two("currencies"))
    return Pair(
        f"In {month.en} {year}, {one.en} were worth {other.en}.",
        f"En {month.fr} {year}, {one.fr} valaient {other.fr}.",
    )


def opening(draw: Draw) -> Pair:
    first, last = map(_day, sorted(draw.two("days")))
    house, state, weekday = draw.one("houses"), draw.one("states"), draw.one("weekdays")
    return Pair(
        f"From {first.en} to {last.en}, {house.en} is {state.en} on {weekday.en}s.",
        f"Du {first.fr} au {last.fr}, {house.fr} est {agreed(state.fr, house.gender)} le {weekday.fr}.",
    )


def translation(draw: Draw) -> Pair:
    writing, (source, target), person = draw.one("writings"), draw.two("languages"), draw.one("people")
    year = draw.integer(1950, 2024)
    translated = agreed("traduit", writing.gender)
    return Pair(
        f"{writing.en} was translated from {source.en} into {target.en} by {person.en} in {year}.",
        f"{writing.fr} a été {translated} {out_of(source.fr)} en {target.fr} par {person.fr} en {year}.",
    )


def climate(draw: Draw) -> Pair:
    month, country = draw.one("months"), draw.one("countries").within
    degrees = _measure(draw.integer(20, 399) / 10, "temperature-celsius")
    return Pair(
        f"In {month.en}, the average temperature {country.en} is {degrees.en}.",
        f"En {month.fr}, la température moyenne {country.fr} est de {degrees.fr}.",
    )


def journey(draw: Draw) -> Pair:
    start, end = draw.two("countries")
    hours = _measure(draw.integer(2, 47), "duration-hour")
    minutes = _measure(5 * draw.integer(1, 11), "duration-minute")
    return Pair(
        f"The journey {start.away.en} to {end.plain.en} takes {hours.en} and {minutes.en}.",
        f"Le voyage {start.away.fr} {end.within.fr} dure {hours.fr} et {minutes.fr}.",
    )


def question(draw: Draw) -> Pair:
    thing, person, country = draw.one("things"), draw.one("people"), draw.one("countries").within
    such, month = _such(draw, thing, plural=True), draw.one("months")
    pronoun = "elle" if person.gender == "f" else "il"
    return Pair(
        f"How many {such.en} did {person.en} buy {country.en} in {month.en}?",
        f"Combien {elided('de', such.fr)} {person.fr} a-t-{pronoun} {agreed('acheté', thing.gender, True)} "
        f"{country.fr} en {month.fr} ?",
    )


def shortage(draw: Draw) -> Pair:
    seller, such = draw.one("sellers"), _such(draw, draw.one("things"), plural=True)
    time, weekday = draw.time(), draw.one("weekdays")
    return Pair(
        f"{seller.en} {such.en} before {time.en} on {weekday.en}s.",
        f"{seller.fr} {elided('de', such.fr)} le {weekday.fr} avant {time.fr}.",
    )


# Each draws its slots and returns an English and a French sentence.
TEMPLATES = [
    *(fare, birth, speakers, appointment, size, purchase, race),
    *(exchange, opening, translation, climate, journey, question, shortage),
]
