"""Prose from CPython's own documentation: a corpus of English text on every machine that runs this project.

Python ships the chapters that ``help()`` shows, such as ``help("with")``, as plain text in ``pydoc_data.topics``:
some 65,000 words under the licence of the PSF, of which some 40,000 remain here. So nothing needs to be downloaded
or shipped. The text depends on the version of Python that runs, so the digest of the source is recorded with results.

The rule for what is prose: a topic is cut at its empty lines, each block is written on one line, and a block is
kept where it reads as sentences:

- it starts with a capital letter, a quoted word or an emphasised one, after the mark of a list item if there is one,
  and ends with a full stop, a colon, a question mark or a closing bracket after one of these;
- it has at least ``SHORTEST`` words, and at least ``WORDLIKE`` of them consist of letters, apart from punctuation.

Code, grammars, tables, headings, signatures and doctests fail this; a term is cut from its definition. Emphasis
and footnote marks are removed, and typographic quotes are written in ASCII. Chapters such as ``specialnames``
repeat others, so a block is kept only in the first topic that has it, and no document repeats a paragraph of
another. The rest of a topic is cut into documents of a few blocks, each of at least ``DOCUMENT`` words.
"""

import re
from collections.abc import Iterator

from sequencematch.errors import UserError

SHORTEST = 8  # words of a block of prose, at least
WORDLIKE = 0.7  # share of a block's words that are plain words, at least
DOCUMENT = 80  # words of a document, at least

ASCII = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "…": "...", "–": "-", "—": "-", "\u00a0": " "})


def python_topics() -> list[str]:
    """The documents, by their topics' names, blocks parted by an empty line. Raises UserError where there are none."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError(
            "this Python lacks pydoc_data.topics, its documentation: install that, or choose another source"
        ) from None
    seen: set[str] = set()
    documents = []
    for name in sorted(topics):
        blocks = [block for block in dict.fromkeys(prose(topics[name])) if block not in seen]
        seen.update(blocks)
        documents += ["\n\n".join(run) for run in _runs(blocks)]
    return documents


def prose(topic: str) -> Iterator[str]:
    """The blocks of a topic that are prose, each on one line."""
    for block in re.split(r"\n\s*\n", topic):
        block = re.sub(r"^( *)(?!\* |\d+\. |\[)\S.*\n(?=\1 +\S)", "", block)  # a term above its definition
        block = re.sub(r"(?<=\w)-\n\s*(?=\w)", "-", block)  # a word broken at its hyphen
        block = " ".join(block.translate(ASCII).split())
        block = re.sub(r"^(\* |\d+\. |\[\d+\] )", "", block)  # the mark of a list item or footnote
        block = re.sub(r"(?<=\.) \[\d+\]\.| \[\d+\]", "", block)  # a reference to a footnote
        block = re.sub(r"\*\*?([\w.]+(?: [\w.]+)*)\*\*?", r"\1", block)  # emphasis
        if _is_prose(block):
            yield block


def _is_prose(block: str) -> bool:
    words = block.split()
    plain = sum(bool(re.fullmatch(r"[(\"']*[A-Za-z]+(?:['-][A-Za-z]+)*[)\"'.,:;?]*", word)) for word in words)
    return (
        len(words) >= SHORTEST
        and plain >= WORDLIKE * len(words)
        and bool(re.match(r"[A-Z\"'(]", block))
        and bool(re.search(r"[.:?][)\"]*$", block))
    )


def _runs(blocks: list[str]) -> list[list[str]]:
    """Runs of blocks of at least ``DOCUMENT`` words; what remains joins the last, or is left out if it is all."""
    runs: list[list[str]] = []
    rest: list[str] = []
    for block in blocks:
        rest.append(block)
        if sum(len(block.split()) for block in rest) >= DOCUMENT:
            runs.append(rest)
            rest = []
    if runs:
        runs[-1] += rest
    return runs
