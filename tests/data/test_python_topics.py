"""Documents are prose, each of some length, none says what another says, and a Python without topics says so."""

import re
import sys
from types import SimpleNamespace

import pytest

from sequencematch.data.python_topics import DOCUMENT, prose, python_topics
from sequencematch.errors import UserError

TOPIC = """\
The "with" statement
********************

The "with" statement is *used* to wrap the execution of a block with
methods defined by a context manager (see post-
mortem **debugging** below) [3].

   with_stmt ::= "with" ( "(" with_stmt_contents ","? ")" | with_stmt_contents ) ":" suite

1. The context manager’s “exit” is loaded for later use, as it
   is described in the section on names.

   if not exit(manager, *sys.exc_info()) and the block is left early:
       raise

+------------+---------------------------------------------------+
| Option     | Meaning of the option, in some more words. Right. |
+------------+---------------------------------------------------+

   >>> print("This is a longer example of a doctest, nothing else.")

object.__exit__(self, exc_type, exc_value, traceback)

   Too few words.

   Term above it
      The definition that stands below a term is kept without it.
"""


@pytest.fixture(scope="module")
def documents():
    return python_topics()


def test_the_rule_on_a_topic():
    assert list(prose(TOPIC)) == [
        'The "with" statement is used to wrap the execution of a block with methods defined by a context manager '
        "(see post-mortem debugging below).",
        'The context manager\'s "exit" is loaded for later use, as it is described in the section on names.',
        "The definition that stands below a term is kept without it.",
    ]


def test_there_are_hundreds_of_documents_of_some_length(documents):
    assert len(documents) > 300
    assert sum(len(document.split()) for document in documents) > 35_000
    assert all(len(document.split()) >= DOCUMENT for document in documents)


def test_no_paragraph_twice(documents):
    blocks = [block for document in documents for block in document.split("\n\n")]
    assert len(set(blocks)) == len(blocks)


def test_most_of_a_document_stands_in_no_other(documents):
    """By runs of 12 words, which ordinary sentences share by accident only."""
    runs = [{tuple(words[i : i + 12]) for i in range(len(words) - 11)} for words in map(str.split, documents)]
    for place, own in enumerate(runs):
        others = set().union(*(run for other, run in enumerate(runs) if other != place and run & own))
        assert len(own & others) < 0.5 * len(own), documents[place]


def test_it_reads_as_prose(documents):
    for document in documents:
        assert not re.search(r"::=|>>>|\*\*\*|===|---|\+-|\[\d+\]\.|  |[“”‘’\t]", document), document
        assert sum(c.isalpha() or c.isspace() for c in document) > 0.8 * len(document), document
        for block in document.split("\n\n"):
            assert "\n" not in block, block
            assert block[0] in "\"'(" or block[0].isupper(), block
            assert block.rstrip("\")'")[-1] in ".:?", block


def test_documents_end_at_blocks_and_short_topics_are_left_out(monkeypatch):
    def block(name: str, words: int) -> str:
        return f"Block {name} " + "of words " * ((words - 3) // 2) + "ends."

    long, tail, short = block("a", 81), block("b", 11), block("c", 41)
    topics = {"z": f"{long}\n\n{short}", "b": f"{long}\n\n{tail}", "a": short}
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", SimpleNamespace(topics=topics))
    # a: too short; b: its rest joins the document; z: nothing in it that a and b do not have.
    assert python_topics() == [f"{long}\n\n{tail}"]


def test_a_python_without_topics_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(UserError, match="this Python lacks pydoc_data.topics"):
        python_topics()
