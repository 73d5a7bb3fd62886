"""Phrases are distinct, reproducible, and say the same in both languages: each side is read by this test's own rules.

A sentence is recognised by its frame, a pair of patterns. What a frame's group holds is read on both sides by
``READ`` and must be equal; names must correspond one to one.
"""

import datetime
import re
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import islice

import pytest

from sequencematch.data import phrases as module
from sequencematch.data.phrase_words import COUNTRIES, Pair
from sequencematch.data.phrases import phrases
from sequencematch.errors import UserError

COUNT = 20_000

CARDINAL = r"[a-z-]+(?: et (?:une?|onze))?"
ORDINAL = r"[a-zè-]+(?: et (?:unième|onzième))?"
WORD = r"[^\W\d_]+"
FRAMES = {
    "fare": (
        rf"On (?P<date>{WORD}, {WORD} \d+, \d+), the (?P<passage>.+) to (?P<country>.+) "
        rf"costs (?P<number>[a-z-]+) (?P<currency>.+)\.",
        rf"Le (?P<date>.+ \d{{4}}), le (?P<passage>.+) pour (?P<country>.+) "
        rf"coûte (?P<number>{CARDINAL}) (?P<currency>.+)\.",
    ),
    "birth": (
        r"(?P<person>.+) was born on (?P<date>.+ \d+, \d+), and lives in (?P<country>.+)\.",
        r"(?P<person>.+) est (?P<born>née?) le (?P<date>.+ \d+) et vit (?P<country>.+)\.",
    ),
    "speakers": (
        r"In (?P<country>.+), (?P<percent>\d+)% of the (?P<group>\w+) (?P<know>\w+) (?P<language>.+)\.",
        r"(?P<country>.+), (?P<percent>\d+) % des (?P<group>\w+) (?P<know>\w+) (?:le |l')(?P<language>.+)\.",
    ),
    "appointment": (
        rf"(?P<event>.+) with (?P<person>.+) (?P<bound>starts|ends) at (?P<time>.+) on (?P<weekday>{WORD})\.",
        rf"(?P<event>.+) avec (?P<person>.+) (?P<bound>commence|se termine) (?P<weekday>{WORD}) à (?P<time>.+)\.",
    ),
    "size": (
        r"(?P<person>.+)'s (?P<adjective>\w+) (?P<thing>\w+) (?P<verb>weighs|is) (?P<decimal>[\d.]+) "
        r"(?P<unit>kilogram|centimeter)s?(?: (?P<way>long|wide|high))?\.",
        r"(?:Le |La |L')(?P<thing>\w+) (?P<adjective>\w+) de (?P<person>.+) (?P<verb>pèse|fait) (?P<decimal>[\d,]+) "
        r"(?P<unit>kilogramme|centimètre)s?(?: de (?P<way>long|large|haut))?\.",
    ),
    "purchase": (
        r"(?P<buyer>\w+) bought (?P<number>[a-z-]+) (?P<adjective1>\w+) (?P<things>\w+) "
        r"and a (?P<adjective2>\w+) (?P<thing>\w+) for (?P<price>.+)\.",
        r"(?P<buyer>.+) acheté (?P<number>[a-z-]+) (?P<things>\w+) (?P<adjectives>\w+) "
        r"et (?P<a>une?) (?P<thing>\w+) (?P<adjective2>\w+) pour (?P<price>.+)\.",
    ),
    "race": (
        rf"(?P<person>.+) finished in (?P<ordinal>[a-z-]+) place in the (?P<month>{WORD}) race in (?P<country>.+)\.",
        rf"(?P<person>.+) a terminé à la (?P<ordinal>{ORDINAL}) place de la course "
        rf"(?:de |d')(?P<month>{WORD}) (?P<country>.+)\.",
    ),
    "exchange": (
        rf"In (?P<month>{WORD}) (?P<year>\d+), (?P<number1>[a-z-]+) (?P<currency1>.+) "
        rf"were worth (?P<number2>[a-z-]+) (?P<currency2>.+)\.",
        rf"En (?P<month>{WORD}) (?P<year>\d+), (?P<number1>{CARDINAL}) (?P<currency1>.+) "
        rf"valaient (?P<number2>{CARDINAL}) (?P<currency2>.+)\.",
    ),
    "opening": (
        rf"From (?P<date1>{WORD} \d+) to (?P<date2>{WORD} \d+), (?P<house>.+) is (?P<state>open|closed) "
        rf"on (?P<weekday>{WORD})s\.",
        rf"Du (?P<date1>.+) au (?P<date2>.+), (?P<house>.+) est (?P<state>ouvert|fermé)(?P<e>e?) "
        rf"le (?P<weekday>{WORD})\.",
    ),
    "translation": (
        rf"This (?P<writing>\w+) was translated from (?P<language1>{WORD}) into (?P<language2>{WORD}) "
        rf"by (?P<person>.+) in (?P<year>\d+)\.",
        rf"(?P<this>Ce|Cette) (?P<writing>\w+) a été (?P<translated>traduite?) (?:du |de l')(?P<language1>{WORD}) "
        rf"en (?P<language2>{WORD}) par (?P<person>.+) en (?P<year>\d+)\.",
    ),
    "climate": (
        rf"In (?P<month>{WORD}), the average temperature in (?P<country>.+) is (?P<decimal>[\d.]+) degrees Celsius\.",
        rf"En (?P<month>{WORD}), la température moyenne (?P<country>.+) est de (?P<decimal>[\d,]+) degrés Celsius\.",
    ),
    "journey": (
        r"The journey from (?P<country1>.+) to (?P<country2>.+) takes (?P<decimal1>\d+) hours "
        r"and (?P<decimal2>\d+) minutes\.",
        r"Le voyage (?P<country1>(?:du |des |de |d').+) (?P<country2>(?:en |au |aux |à ).+) "
        r"dure (?P<decimal1>\d+) heures et (?P<decimal2>\d+) minutes\.",
    ),
    "question": (
        rf"How many (?P<adjective>\w+) (?P<things>\w+) did (?P<person>.+) "
        rf"buy in (?P<country>.+) in (?P<month>{WORD})\?",
        rf"Combien (?:de |d')(?P<things>\w+) (?P<adjectives>\w+) (?P<person>.+) a-t-(?P<pronoun>il|elle) "
        rf"(?P<bought>achetée?s) (?P<country>.+) en (?P<month>{WORD}) \?",
    ),
    "shortage": (
        rf"(?P<seller>.+ not sell) (?P<adjective>\w+) (?P<things>\w+) before (?P<time>.+) on (?P<weekday>{WORD})s\.",
        rf"(?P<seller>.+ pas) (?:de |d')(?P<things>\w+) (?P<adjectives>\w+) le (?P<weekday>{WORD}) "
        rf"avant (?P<time>.+)\.",
    ),
}

MONTHS = {
    "en": "January February March April May June July August September October November December".split(),
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
}
WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche".split(),
}
UNITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen".split(),
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize".split(),
}
TENS = {
    "en": dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True)),
    "fr": {"vingt": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60, "quatre-vingt": 80},
}
ORDINALS = {  # the last word of an ordinal number, as a cardinal
    "en": {"first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine"}
    | {"twelfth": "twelve"},
    "fr": {"première": "un", "cinquième": "cinq", "neuvième": "neuf"},
}


def read_cardinal(words: str, language: str) -> int:
    """A number below 100: tens, then units, which in French run to 19 (dix-neuf) and may follow ``et``."""
    if language == "fr":
        words = re.sub(r"\bune$", "un", words).replace(" et ", "-")
        if words == "quatre-vingts":  # the plural s, when nothing follows
            return 80
        assert words != "quatre-vingt"
    value = 0
    for tens, worth in TENS[language].items():
        if words == tens or words.startswith(f"{tens}-"):
            value, words = worth, words[len(tens) + 1 :]
    if language == "fr" and re.match("dix-.", words):
        value, words = value + 10, words.removeprefix("dix-")
    return value + (UNITS[language].index(words) if words else 0)


def read_ordinal(words: str, language: str) -> int:
    head, parting, last = re.fullmatch(r"(.*?)([ -]?)([^ -]+)", words).groups()
    if last in ORDINALS[language]:
        last = ORDINALS[language][last]
    elif language == "en":
        last = re.sub(r"ieth$", "yth", last).removesuffix("th")
    else:
        last = last.removesuffix("ième")
        last = next(word for word in [*UNITS["fr"], *TENS["fr"]] if word in (last, last + "e"))
    whole = head + parting + last
    return 80 if whole == "quatre-vingt" else read_cardinal(whole, language)


def read_date(text: str, language: str) -> tuple:
    """Month, day, year and weekday, as far as they stand there; a weekday must be the date's own."""
    words = text.replace(",", "").split()
    weekday = WEEKDAYS[language].index(words.pop(0)) if words[0] in WEEKDAYS[language] else None
    month, day = words[:2] if language == "en" else words[1::-1]
    if language == "fr":
        assert re.fullmatch(r"1er|[2-9]|\d\d", day)
        day = day.removesuffix("er")
    month, day, year = MONTHS[language].index(month) + 1, int(day), [int(word) for word in words[2:]]
    if weekday is not None:
        assert datetime.date(*year, month, day).weekday() == weekday
    return month, day, year, weekday


def read_time(text: str, language: str) -> tuple[int, int]:
    hour, minute, half = re.fullmatch(r"(\d+):(\d\d)(?: ([AP]M))?", text).groups()
    assert (half is not None) == (language == "en")
    if half:
        assert 1 <= int(hour) <= 12
        hour = int(hour) % 12 + 12 * (half == "PM")
    return int(hour), int(minute)


def read_decimal(text: str, language: str) -> Decimal:
    return Decimal(text.replace(",", ".") if language == "fr" else text)


def read_price(text: str, language: str) -> tuple[Decimal, str]:
    symbol = {"en": r"[€$]", "fr": r"(?: €| \$US)$"}[language]
    return read_decimal(re.sub(symbol, "", text), language), "€" if "€" in text else "$"


READ = {
    "number": read_cardinal,
    "ordinal": read_ordinal,
    "date": read_date,
    "time": read_time,
    "decimal": read_decimal,
    "price": read_price,
    "percent": lambda text, _: int(text),
    "year": lambda text, _: int(text),
    "month": lambda text, language: MONTHS[language].index(text),
    "weekday": lambda text, language: WEEKDAYS[language].index(text),
}
NAMES = {"country", "language", "currency", "thing", "things", "passage", "group", "know", "event", "bound", "house"}
NAMES |= {"state", "writing", "buyer", "seller", "unit", "way"}


@pytest.fixture(scope="module")
def pairs():
    return list(islice(phrases(0), COUNT))


@pytest.fixture(scope="module")
def parsed(pairs):
    """(frame, English groups, French groups) of every pair."""
    return [parse(*pair) for pair in pairs]


def parse(english: str, french: str) -> tuple[str, dict, dict]:
    matches = {name: re.fullmatch(frame[0], english) for name, frame in FRAMES.items()}
    (name,) = [name for name, match in matches.items() if match]
    french_match = re.fullmatch(FRAMES[name][1], french)
    assert french_match, (name, french)
    return name, matches[name].groupdict(), french_match.groupdict()


def test_no_sentence_comes_twice_and_few_are_drawn_again(pairs):
    drawn = (module.Draw(0, index) for index in range(COUNT))
    assert len({english for english, _ in pairs}) == COUNT
    assert len({module.TEMPLATES[draw.integer(0, len(FRAMES) - 1)](draw).en for draw in drawn}) > 0.99 * COUNT
    assert len({french for _, french in pairs}) > 0.99 * COUNT


def test_the_seed_alone_decides_and_longer_streams_begin_alike(pairs):
    assert list(islice(phrases(0), 100)) == pairs[:100]
    script = (
        "from itertools import islice; from sequencematch.data.phrases import phrases; "
        "print(list(islice(phrases(3), 300)))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == str(list(islice(phrases(3), 300)))
    assert not set(islice(phrases(3), 300)) & set(islice(phrases(4), 300))


def test_every_template_is_as_likely_as_the_others(parsed):
    counts = Counter(name for name, _, _ in parsed)
    assert counts.keys() == FRAMES.keys()
    assert len(FRAMES) == len(module.TEMPLATES)
    assert all(abs(n * len(FRAMES) / COUNT - 1) < 0.15 for n in counts.values())


def test_spelling_and_length(pairs):
    for sentence in (sentence for pair in pairs for sentence in pair):
        assert sentence[0].isupper() and sentence[-1] in ".?"
        assert "  " not in sentence and not re.search(r"[{}’\xa0\u202f_]", sentence)
        assert re.fullmatch(r"[\w ,.:;?'%€$-]+", sentence)
        assert 5 <= len(sentence.split()) <= 20


def test_both_sides_state_the_same_numbers_dates_and_times(parsed):
    read = Counter()
    for _, english, french in parsed:
        for group in english:
            kind = group.rstrip("12")
            if kind in READ:
                assert READ[kind](english[group], "en") == READ[kind](french[group], "fr"), (english, french)
                read[kind] += 1
    assert read.keys() == READ.keys()


def test_names_correspond_one_to_one(parsed):
    """Also where a country follows different prepositions, and a currency different numbers."""
    names = defaultdict(set)
    for _, english, french in parsed:
        for group in english:
            kind = group.rstrip("12")
            if kind in NAMES and english[group]:
                name = english[group].removeprefix("the ")
                translation = french[group]
                if kind == "country":
                    translation = re.sub(r"^(?:(?:[Ee]n|[Aa]ux?|[ÀàLl]|[Ll][ea]s?|d[ue]s?) |[dl]')", "", translation)
                names[kind].add((name, translation))
    assert names.keys() == NAMES
    for kind, found in names.items():
        assert len({name for name, _ in found}) == len({name for _, name in found}) == len(found), (kind, sorted(found))


def test_elision(pairs):
    """Before every vowel but that of onzième, and nowhere else."""
    vowel = "[aeiouàâéèêëîïôœùû]"
    for _, french in pairs:
        assert not re.search(rf"\b(?:de|le|la|je|ne) (?!onzième){vowel}", french, re.IGNORECASE), french
        assert not re.search(rf"\b[dlj]'(?!{vowel})", french, re.IGNORECASE), french


MASCULINE = (
    "bag basket bicycle book bowl coat curtain hat knife mirror pen pencil pillow rug umbrella "
    "novel poem speech tale brother father grandfather nephew son uncle market museum restaurant shop"
).split()


def test_agreement(parsed):
    """Articles, adjectives and participles follow the gender of the noun, masculine as this test's list has it."""
    invariable = {"propre", "sale", "rose", "rouge", "jaune"}  # end in e in both genders

    def feminine(adjective: str) -> bool | None:
        singular = adjective.removesuffix("s") if adjective != "gris" else adjective
        return None if singular in invariable else singular.endswith("e")

    singular_of = {"shelves": "shelf", "scarves": "scarf", "knives": "knife", "watches": "watch", "boxes": "box"}
    singular_of |= {"dresses": "dress"}
    seen = Counter()

    def agree(noun: str, *forms: bool | None) -> None:
        noun = singular_of.get(noun, noun.removesuffix("s") if noun != "dress" else noun)
        for form in forms:
            if form is not None:
                assert form == (noun not in MASCULINE), (noun, english, french)
                seen[noun] += 1

    for name, english, french in parsed:
        if "person" in english:
            owner, relative = english["person"].lower().split()
            possessive = french["person"].lower().split()[0]
            expected = {"my": ("mon", "ma"), "his": ("son", "sa"), "her": ("son", "sa")}
            expected |= {word: (french_word,) * 2 for word, french_word in
                         [("your", "votre"), ("our", "notre"), ("their", "leur")]}  # fmt: skip
            assert possessive == expected[owner][relative not in MASCULINE]
        if name == "birth":
            agree(relative, french["born"] == "née")
        if name == "size":
            agree(english["thing"], feminine(french["adjective"]))
        if name == "purchase":
            agree(english["thing"], french["a"] == "une", feminine(french["adjective2"]))
            assert english["adjective2"][0] not in "aeiou"  # a, not an
        if name == "question":
            agree(relative, french["pronoun"] == "elle")
            agree(english["things"], french["bought"] == "achetées")
        if name == "opening":
            agree(english["house"].split()[-1], french["e"] == "e", french["house"].startswith("la "))
        if name == "translation":
            agree(english["writing"], french["this"] == "Cette", french["translated"] == "traduite")
        if "adjectives" in french:
            agree(english["things"], feminine(french["adjectives"]))
            assert french["adjectives"].endswith("s") and french["things"][-1] in "sx"
    assert set(MASCULINE) <= seen.keys()
    assert not {noun for noun, times in seen.items() if times < 20}


def test_gender_of_amounts(parsed):
    """21, 31 ... of couronnes, livres, roupies and hryvnias end in une, those of other currencies in un."""
    ending = Counter()
    for name, _, french in parsed:
        for end in {"fare": [""], "exchange": ["1", "2"]}.get(name, []):
            if french[f"number{end}"].split("-")[-1].split()[-1] in ("un", "une"):
                feminine = french[f"currency{end}"].split()[0] in ("couronnes", "livres", "roupies", "hryvnias")
                assert french[f"number{end}"].endswith("une") == feminine, french
                ending[feminine] += 1
    assert min(ending[True], ending[False]) > 20


def test_articles_and_prepositions_of_countries():
    forms = {country.fr: (country.plain, country.within, country.away) for country in COUNTRIES}
    for expected in [
        ("Portugal", "le Portugal", "au Portugal", "du Portugal"),
        ("Grèce", "la Grèce", "en Grèce", "de Grèce"),
        ("Italie", "l'Italie", "en Italie", "d'Italie"),
        ("Équateur", "l'Équateur", "en Équateur", "d'Équateur"),
        ("Honduras", "le Honduras", "au Honduras", "du Honduras"),
        ("Yémen", "le Yémen", "au Yémen", "du Yémen"),
        ("Hongrie", "la Hongrie", "en Hongrie", "de Hongrie"),
        ("Pays-Bas", "les Pays-Bas", "aux Pays-Bas", "des Pays-Bas"),
        ("États-Unis", "les États-Unis", "aux États-Unis", "des États-Unis"),
        ("Cuba", "Cuba", "à Cuba", "de Cuba"),
    ]:
        assert (expected[0], *(form.fr for form in forms[expected[0]])) == expected
    assert forms["Pays-Bas"][1].en == "in the Netherlands"


def test_all_numbers_and_ordinals_that_occur():
    for value in range(1, 100):
        for gender in "mf":
            assert read_cardinal(module.number(value, gender).fr, "fr") == value
        assert read_cardinal(module.number(value).en, "en") == value
        assert read_ordinal(module.ordinal(value).en, "en") == read_ordinal(module.ordinal(value).fr, "fr") == value


def test_an_exhausted_grammar_says_so(monkeypatch):
    monkeypatch.setitem(module.TABLES, "pairs", [("one", "un"), ("two", "deux")])
    monkeypatch.setattr(module, "TEMPLATES", [lambda draw: Pair(*draw.one("pairs"))])
    stream = phrases(0)
    assert {next(stream), next(stream)} == {("One", "Un"), ("Two", "Deux")}
    with pytest.raises(UserError, match="about 2 sentences"):
        next(stream)
