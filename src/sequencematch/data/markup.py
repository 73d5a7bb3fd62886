"""Sentences and their translations, from HTML or XML pages that have the same structure in two languages."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from html.parser import HTMLParser
from pathlib import Path

from sequencematch.data.packages import matching_files
from sequencematch.data.pairs import Pair
from sequencematch.errors import UserError
from sequencematch.store.files import read_text

# Elements that hold a text of their own; all others are part of the text around them.
BLOCKS = {
    *("p", "div", "li", "ul", "ol", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "caption"),
    *("table", "thead", "tbody", "tr", "td", "th", "body", "html", "head", "title", "pre", "script", "style"),
    *("page", "section", "info", "desc", "list", "steps", "item", "terms", "note", "media", "figure", "screen"),
    *("credit", "comment", "example", "listing", "quote", "synopsis", "tree"),
}
# Elements whose text nobody translates.
UNREAD = {"comment", "head", "pre", "script", "style", "credit", "screen", "listing", "synopsis"}
UNREAD_CLASSES = {"docnav", "url"}  # links of Publican's pages
COPIED = 0.6  # share of words in common above which a text counts as not translated
LARGEST_PAGE = 2**23  # bytes
# Products of two numbers of words up to which the order of the words counts: the comparison takes cubic time.
IN_ORDER = 10**5


def extract_pairs(folder: Path, patterns: Sequence[str]) -> tuple[list[Pair], dict[str, int]]:
    """The pairs of texts in pages of the same name that two patterns find below ``folder``, and what was left out.

    Two pages correspond where their elements are the same, in the same order. Left out are texts of a single word, and
    those that are not translated, or not in full: most of their words are the same, in the same order. Raises UserError
    where there are not two patterns, or no pair is found.
    """
    if len(patterns) != 2:
        raise UserError("pairs come from two languages: name two patterns of pages in inside, one for each")
    pages = [{file.name: file for file in matching_files(folder, pattern)} for pattern in patterns]
    left_out = {"pages of another structure": 0, "untranslated texts": 0, "single words": 0}
    pairs: dict[Pair, None] = {}
    for name in sorted(pages[0].keys() & pages[1].keys()):
        first, second = (texts_of(read_text(side[name], "fetch the package again", LARGEST_PAGE)) for side in pages)
        if [element for element, _ in first] != [element for element, _ in second]:
            left_out["pages of another structure"] += 1
            continue
        for (_, text), (_, other) in zip(first, second, strict=True):
            if text == other or _untranslated(text, other):
                left_out["untranslated texts"] += bool(text)
            elif len(text.split()) < 2 or len(other.split()) < 2:
                left_out["single words"] += 1
            else:
                pairs[text, other] = None
    if not pairs:
        raise UserError(f"'{folder}' holds no pages of the same structure for {' and '.join(patterns)}: correct inside")
    return list(pairs), left_out


def _untranslated(text: str, other: str) -> bool:
    words, others = text.split(), other.split()
    matcher = SequenceMatcher(None, words, others, autojunk=False)
    alike = matcher.real_quick_ratio() > COPIED and matcher.quick_ratio() > COPIED
    return alike and (len(words) * len(others) > IN_ORDER or matcher.ratio() > COPIED)


def texts_of(page: str) -> list[tuple[str, str]]:
    """Every element of a page that may hold text of its own, with its class, and that text, in order of their ends."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    while reader.open:
        reader._close()
    return reader.texts


class _Reader(HTMLParser):
    """``open``: the elements around the place that is read, with their classes and the parts of their texts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str, list[str]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        tag = tag.rpartition(":")[2]
        if tag in BLOCKS:
            self.open.append((tag, dict(attrs).get("class") or "", []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that is empty holds no text."""

    def handle_endtag(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        if any(name == tag for name, *_ in self.open):
            while self.open[-1][0] != tag:  # elements that HTML lets end without a word
                self._close()
            self._close()

    def handle_data(self, data: str) -> None:
        if self.open and self._is_read():
            self.open[-1][2].append(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """``<![`` of a kind that the library does not know is a comment, as for a browser."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _is_read(self) -> bool:
        return not any(tag in UNREAD or kind in UNREAD_CLASSES for tag, kind, _ in self.open)

    def _close(self) -> None:
        read = self._is_read()
        tag, kind, parts = self.open.pop()
        if read:
            self.texts.append((f"{tag}.{kind}", " ".join("".join(parts).split())))
