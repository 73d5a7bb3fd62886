"""Table 8's examples: what a policy wrote after prompts whose last token was replaced by a random one.

The first prompts of the split are shown in their order, without any selection.
"""

import html
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from sequencematch.errors import UserError
from sequencematch.results.deletions import DELETED, KEPT
from sequencematch.store.files import read_json_lines, reason


@dataclass(frozen=True)
class Shown:
    """One continuation of a damaged prompt.

    prompt: text before the damaged token; true, wrong: the original token and the one that replaced it; pieces: texts
    in the order typed, beginning with the wrong token, each with whether it was kept or deleted; rendered: all of them
    as plain text with every ``<bkspc>`` visible; answered_at_once: whether the first action was ``<bkspc>``.
    """

    example: int
    prompt: str
    true: str
    wrong: str
    pieces: list[list[str]]
    answered_at_once: bool
    rendered: str


def read_shown(path: Path) -> list[Shown]:
    """The records of a shown.jsonl, none for a policy without ``<bkspc>``. UserError names a damaged line."""
    return [_shown(fields, place) for place, fields in read_json_lines(path, "sample again")]


def _shown(fields: dict, where: str) -> Shown:
    try:
        shown = Shown(**{name: fields[name] for name in Shown.__annotations__})
        for text, fate in shown.pieces:
            if not isinstance(text, str) or fate not in (KEPT, DELETED):
                raise ValueError(f"a piece is {[text, fate]!r}")
        if not shown.pieces or not all(isinstance(getattr(shown, name), str) for name in ("prompt", "true", "wrong")):
            raise ValueError("no text and pieces")
        return shown
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} is no shown example ({reason(error)}): delete the file and sample again") from error


def answered(shown: Sequence[Shown]) -> str:
    """How many were answered at once with ``<bkspc>``, in words."""
    return f"{sum(one.answered_at_once for one in shown)} of {len(shown)} answered at once with `<bkspc>`"


def shown_text(shown: Sequence[Shown]) -> str:
    """What one policy wrote, as plain text in which every ``<bkspc>`` is visible."""
    return printable("\n\n".join(f"{_said(one)}\nprompt: {one.prompt}\ntyped:  {one.rendered}" for one in shown))


def shown_html(shown: Sequence[Shown]) -> Markup:
    """What one policy wrote in HTML, with deleted tokens marked."""
    return Markup(
        "\n".join(
            f'<div class="shown"><p class="text"><span class="prompt">{_escaped(one.prompt)}</span>'
            f'{marked(one.pieces, damaged=True)}</p><p class="said">{_escaped(_said(one))}</p></div>'
            for one in shown
        )
    )


def _said(one: Shown) -> str:
    answer = "answered at once" if one.answered_at_once else "not answered at once"
    return f"example {one.example}: {_quoted(one.wrong)} in place of {_quoted(one.true)}, {answer}"


def marked(pieces: Sequence[Sequence[str]], damaged: bool = False) -> str:
    """(text, fate) in the order typed as HTML: deleted text is struck through, the first word after it underlined.

    damaged: the first piece is the given wrong token, which is marked if it was not deleted.
    """
    return "".join(_marked(pieces, damaged))


def _marked(pieces: Sequence[Sequence[str]], damaged: bool) -> Iterator[str]:
    runs = [(fate, [text for text, _ in run]) for fate, run in itertools.groupby(pieces, key=lambda piece: piece[1])]
    for place, (fate, texts) in enumerate(runs):
        text = "".join(texts)
        if fate == DELETED:
            yield f'<del><span class="aloud">deleted: </span>{_escaped(_visible(text))}</del>'
        elif place:
            end = _word(text)
            yield f'<ins><span class="aloud">written: </span>{_escaped(text[:end])}</ins>{_escaped(text[end:])}'
        elif damaged:
            wrong = _escaped(_visible(texts[0]))
            yield f'<mark><span class="aloud">wrong token kept: </span>{wrong}</mark>{_escaped("".join(texts[1:]))}'
        else:
            yield _escaped(text)


def _word(text: str) -> int:
    """Where the first word of a text ends."""
    found = re.match(r"\s*\S+", text)
    return found.end() if found else len(text)


def _visible(text: str) -> str:
    """The text with visible signs for line ends and for single spaces, whose marks could not be seen otherwise."""
    return text.replace("\n", "↵") if text.strip() else text.replace("\n", "↵").replace(" ", "␣")


def printable(text: str) -> str:
    """The text without control characters, which an untrained model writes and which HTML and terminals cannot show."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
