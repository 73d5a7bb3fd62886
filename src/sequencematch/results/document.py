"""A page of headings, paragraphs, grids and lists, as Markdown and as one self-contained HTML file.

Text may contain Markdown's `code`, *emphasis* and **bold**. HTML in it is escaped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sequencematch.results.markdown_html import render

# Readable on a phone and in the dark; every pair of colours has a contrast of 4.5 or more.
# MARKS is for every page that shows typed text: deleted, rewritten, left wrong.
MARKS = """
:root { --soft-back: #f4f4f1; --prompt: #57606a; --gone: #a3210f; --gone-back: #fdeae6; --new: #14602b;
  --new-back: #e4f4e7; --left: #6b4500; --left-back: #fff1cf; }
@media screen and (prefers-color-scheme: dark) { :root { --soft-back: #212427; --prompt: #a9b1ba; --gone: #ffab9e;
  --gone-back: #46190f; --new: #9fe0ad; --new-back: #143820; --left: #ffd97f; --left-back: #463308; } }
.shown { margin: 0.6rem 0 1.2rem; padding: 0.7rem 0.9rem; background: var(--soft-back); border-radius: 6px; }
.shown .text { margin: 0 0 0.5rem; max-width: none; white-space: pre-wrap; overflow-wrap: anywhere; }
.shown .said { margin: 0; font-size: 0.85rem; } .prompt { color: var(--prompt); }
del { color: var(--gone); background: var(--gone-back); text-decoration: line-through; }
ins { color: var(--new); background: var(--new-back); text-decoration: none; border-bottom: 2px solid; }
mark { color: var(--left); background: var(--left-back); border-bottom: 2px dotted; }
.aloud { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
"""
# Wide tables scroll in a box of their own (.scroll), where their header and their first column stay in sight.
STICKY = """
.scroll { overflow: auto; max-height: 90vh; }
.scroll table { border-collapse: separate; border-spacing: 0; }
.scroll thead th { position: sticky; top: 0; z-index: 2; background: var(--paper); }
.scroll tbody th, .scroll thead th:first-child { position: sticky; left: 0; z-index: 1; background: var(--paper); }
.scroll thead th:first-child { z-index: 3; }
.scroll td { white-space: nowrap; }
@media print { .scroll { max-height: none; overflow: visible; } .scroll td { white-space: normal; } }
"""
STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #cfcfc8; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8e8e4; --paper: #16181a; --line: #44484c; } }
body { margin: 0 auto; padding: 1.2rem; max-width: 72rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 0.4rem; } p, ul { max-width: 46rem; }
code { font-size: 0.92em; background: var(--soft-back); padding: 0 0.2em; border-radius: 3px; }
img { max-width: 100%; height: auto; background: #ffffff; }
table { font-size: 0.85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.4rem; }
th, td { padding: 0.3rem 0.7rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 400; } thead th { font-weight: 600; border-bottom-width: 2px; }
"""


class Block(Protocol):
    """A part of a page. If it has a method ``html``, this is used on HTML pages."""

    def markdown(self) -> str:
        """The part in Markdown, without a line break at its end."""


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 6."""

    text: str
    level: int = 2

    def markdown(self) -> str:
        """The part in Markdown, without a line break at its end."""
        return f"{'#' * self.level} {self.text}"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of Markdown."""

    text: str

    def markdown(self) -> str:
        """The part in Markdown, without a line break at its end."""
        return self.text


@dataclass(frozen=True)
class Bullets:
    """A bulleted list."""

    items: Sequence[str]

    def markdown(self) -> str:
        """The part in Markdown, without a line break at its end."""
        return "\n".join(f"- {item}" for item in self.items)


@dataclass(frozen=True)
class Grid:
    """A table, captioned by the heading above it: rows as wide as its header, each named by its first cell."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The part in Markdown, without a line break at its end."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    return "\n\n".join([f"# {title}", *(block.markdown() for block in blocks)]) + "\n"


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{{ body }}
</main>
</body>
</html>
"""


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """A whole page as one file; only images that its Markdown names lie outside of it."""
    from jinja2 import Environment
    from markupsafe import Markup

    drawn = {f"block-{i}": block.html() for i, block in enumerate(blocks) if hasattr(block, "html")}
    text = "\n\n".join(f"block-{i}" if f"block-{i}" in drawn else block.markdown() for i, block in enumerate(blocks))
    body = re.sub(r"<p>(block-\d+)</p>", lambda found: drawn.get(found[1], found[0]), render(text, 2, title))
    template = Environment(autoescape=True).from_string(PAGE)
    return template.render(title=title, style=Markup(MARKS + STICKY + STYLE), body=Markup(body))


def embedded(page: str) -> str:
    """The body of a page of ``to_html`` below its title, for use inside another page."""
    return page.partition("</h1>")[2].partition("</main>")[0]


def sections(body: str) -> list[str]:
    """An HTML body cut before each heading of level 2. The first part is what precedes the first heading."""
    return re.split(r"(?=<h2>)", body)


def lowered(body: str, levels: int) -> str:
    """An HTML body with its headings moved down by a number of levels."""
    return re.sub(r"(</?h)([1-6])>", lambda tag: f"{tag[1]}{min(6, int(tag[2]) + levels)}>", body)
