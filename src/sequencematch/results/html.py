"""Markdown as accessible HTML: tables have captions and scopes, and headings start at a given level."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from sequencematch.errors import UserError


def render_file(path: Path, level: int) -> Markup:
    """A Markdown file as HTML, without its title; see ``render``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not there or no text file: it belongs to this report") from error
    first, _, rest = text.partition("\n")
    if not first.startswith("# "):
        raise UserError(f"'{path}' does not begin with its title ('# ...')")
    return render(rest, level, first.removeprefix("# "))


def render(text: str, level: int, name: str) -> Markup:
    """Markdown as HTML whose highest heading is ``level``. HTML inside the text is escaped.

    The heading above a table is its caption for screen readers (``name`` if there is none). Links to other files of the
    repository become plain text, because the page is read without them.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    headings = [token for token in tokens if token.type == "heading_open"]
    shift = level - min((int(token.tag[1]) for token in headings), default=level)
    caption, numbers, out = name, count(1), []
    for i, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + shift)}"
        if token.type == "heading_open":
            caption = tokens[i + 1].content
        elif token.type == "inline":
            token.children = list(_without_local_links(token.children or []))
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "td_open" and tokens[i - 1].type == "tr_open":
            token.tag, tokens[i + 2].tag = "th", "th"  # the first cell names its row
            token.attrSet("scope", "row")
        if token.type == "table_open":
            out += [_html(Markup(SCROLL_OPEN).format(caption, next(numbers))), token]
            out.append(_html(Markup('<caption class="aloud">{}</caption>').format(caption)))
        elif token.type == "table_close":
            out += [token, _html("</div>")]
        else:
            out.append(token)
    return Markup(parser.renderer.render(out, parser.options, {}))


# A box that scrolls must be reachable by keyboard, and so have a name.
SCROLL_OPEN = '<div class="scroll" tabindex="0" role="group" aria-label="{}, table {}">'


def _html(text: str) -> Token:
    return Token("html_block", "", 0, content=text)


def _without_local_links(tokens: Sequence[Token]):
    opened = []
    for token in tokens:
        if token.type == "link_open":
            opened.append("://" in str(token.attrGet("href")))
            if not opened[-1]:
                continue
        elif token.type == "link_close" and not opened.pop():
            continue
        yield token
