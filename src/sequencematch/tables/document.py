"""A page of headings, paragraphs, grids and lists, written as Markdown or as one self-contained HTML file.

Text may hold `code` and *emphasis*; everything else in it is taken literally.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# Readable on a phone and in the dark; every pair of colours has a contrast of 4.5 or more. What is wider than the
# screen scrolls by itself (.scroll). MARKS is for every page that shows typed text: deleted, rewritten, left wrong.
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
.grid td { white-space: nowrap; }
"""
STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #cfcfc8; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8e8e4; --paper: #16181a; --line: #44484c; } }
body { margin: 0 auto; padding: 1.2rem; max-width: 72rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 0.4rem; } p, ul { max-width: 46rem; }
code { font-size: 0.92em; background: var(--soft-back); padding: 0 0.2em; border-radius: 3px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.4rem; }
th, td { padding: 0.3rem 0.7rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 400; } thead th { font-weight: 600; border-bottom-width: 2px; }
"""


class Block(Protocol):
    """A part of a page."""

    def markdown(self) -> str: ...

    def html(self) -> str: ...


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2

    def markdown(self) -> str:
        return f"{'#' * self.level} {self.text}"

    def html(self) -> str:
        return f"<h{self.level}>{inline(self.text)}</h{self.level}>"


@dataclass(frozen=True)
class Paragraph:
    text: str

    def markdown(self) -> str:
        return self.text

    def html(self) -> str:
        return f"<p>{inline(self.text)}</p>"


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]

    def markdown(self) -> str:
        return "\n".join(f"- {item}" for item in self.items)

    def html(self) -> str:
        return "<ul>\n" + "\n".join(f"<li>{inline(item)}</li>" for item in self.items) + "\n</ul>"


@dataclass(frozen=True)
class Grid:
    """A table: what it holds, in a few words, and rows as wide as its header, each named by its first cell."""

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def html(self) -> str:
        header = "".join(f'<th scope="col">{inline(cell)}</th>' for cell in self.header)
        rows = (
            f'<th scope="row">{inline(first)}</th>' + "".join(f"<td>{inline(cell)}</td>" for cell in rest)
            for first, *rest in self.rows
        )
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        # Focusable, so that a keyboard scrolls what is wider than the screen.
        return (
            f'<div class="scroll" tabindex="0" role="group" aria-label="{html.escape(self.name)}">\n'
            f'<table class="grid">\n<caption>{inline(self.name)}</caption>\n'
            f"<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
        )


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    return "\n\n".join([f"# {title}", *(block.markdown() for block in blocks)]) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """A whole page that needs nothing beside itself."""
    name, parts = html.escape(title), "\n".join(block.html() for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{MARKS}{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{name}</h1>\n{parts}\n"
        "</main>\n</body>\n</html>\n"
    )


def embedded(page: str, deeper: int) -> str:
    """What a page of ``to_html`` has below its title, to stand in another page, its headings ``deeper`` levels down."""
    body = page.partition("</h1>")[2].partition("</main>")[0]
    return re.sub(r"(</?h)([1-6])>", lambda tag: f"{tag[1]}{min(6, int(tag[2]) + deeper)}>", body)


def inline(text: str) -> str:
    """`code` and *emphasis* as HTML, the rest escaped."""
    escaped = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", escaped)
