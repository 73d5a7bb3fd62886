"""The pages of tables, in Markdown and HTML: what each template is given. The prose is in ``templates/``.

They are for reading; the CSV files are for computing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from sequencematch.errors import UserError
from sequencematch.results.estimates import REFERENCE, Estimate, Table
from sequencematch.results.measure import baselines, text_measures
from sequencematch.results.quantities import BY_SEED, describe, key
from sequencematch.results.runs import Comparison
from sequencematch.results.showcase import Shown, answered, read_shown, shown_html, shown_text
from sequencematch.results.variants import Variant
from sequencematch.results.words import (
    INTERVAL,
    SIGNIFICANT,
    Grid,
    capital,
    caption,
    decoding_label,
    heading,
    pair_sentences,
    paper_label,
    plain,
    printed,
    repair_grid,
    repair_sentence,
    signed_bold,
    span,
    variants_grid,
    with_spread,
)
from sequencematch.settings.families import FAMILIES

TEMPLATES = Path(__file__).with_name("templates")
MARKDOWN = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True)
HTML = Environment(
    loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
)
AT_ONCE = (
    "The last token of a prompt was replaced by a random one; the policy of the first seed went on from there, "
    "sampled at temperature 1. These are the first prompts of the split, not picked."
)
DELETIONS = ("pushes_per_sequence", "pops_per_sequence", "deletions_per_sequence", "wrong_pop_share", "cut_off_share")
COMPARED = ("mauve", "held_out_nll")  # in words, of text


@dataclass(frozen=True)
class Page:
    """A Markdown template and what it shows. Only images that it names lie outside of the page."""

    template: str
    title: str
    content: Mapping

    def markdown(self) -> str:
        """The whole page as Markdown."""
        text, shown = self._filled("")
        return re.sub(r"(?m)^typed-(\d+)$", lambda found: fenced(shown_text(shown[int(found[1])])), text)

    def html(self) -> str:
        """The whole page as one HTML file."""
        style = Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("shared.css", "page.css")))
        return HTML.get_template("page.html.j2").render(title=self.title, style=style, body=self.part("", 2))

    def part(self, block: str, level: int) -> Markup:
        """A block of the template as HTML, its highest heading of a level; '' is all of it, without the title."""
        text, shown = self._filled(block)
        body = render(text if block else text.partition("\n")[2], level, self.title)
        return Markup(re.sub(r"<p>typed-(\d+)</p>", lambda found: shown_html(shown[int(found[1])]), body))

    def _filled(self, block: str) -> tuple[str, list[Sequence[Shown]]]:
        """The template's text, and the examples that stand at each of its lines 'typed-0', 'typed-1'."""
        shown: list[Sequence[Shown]] = []

        def typed(examples: Sequence[Shown]) -> str:
            shown.append(examples)
            return f"typed-{len(shown) - 1}"

        template = MARKDOWN.get_template(self.template)
        content = {"title": self.title, "interval": INTERVAL, "significant": SIGNIFICANT, **self.content}
        content |= {"capital": capital, "typed": typed}
        draw = template.blocks[block] if block else template.root_render_func
        text = "".join(draw(template.new_context(content)))
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", shown


def fenced(text: str) -> str:
    """A code block of Markdown, with a fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


# ---- scores -----------------------------------------------------------------------------------------


def scores_page(title: str, table: Table, comparison: Comparison) -> Page:
    """What the intervals support, the scores with the paper's, then differences and deletions, and how it was made."""
    metric = FAMILIES[comparison.family].score
    first = comparison.first["decodings"][comparison.decodings[0]]
    content = {
        "sentences": pair_sentences(table.differences()),
        "label": describe(metric).label,
        "scores": _scores(table),
        "paper_notes": _paper_notes(table.cells) if any(cell.paper for cell in table.cells) else None,
        "others": {
            describe(n).label: _by_decoding(table, n) for n in BY_SEED if n not in DELETIONS and table.decodings_of(n)
        },
        "differences": _differences(table, comparison),
        "repair": repair_grid(table, comparison) if comparison.corruptions else "",
        "repair_sentence": repair_sentence(comparison),
        "older_errors": older_error_grids(table),
        "deletions": _deletions(table),
        "caption": caption(comparison),
        "signature": first.get("signature"),
    }
    return Page("scores.md.j2", title, content)


def _scores(table: Table) -> Grid:
    """The score in every decoding, with the paper's number in a last column where it has any."""
    decodings = table.decodings_of(table.metric)
    grid = variants_grid(table, [(decoding, table.metric) for decoding in decodings], (with_spread, span))
    header = ["method", *(name for decoding in decodings for name in (decoding_label(decoding), INTERVAL))]
    papers = {cell.variant: cell.paper for cell in table.cells if cell.paper}
    if not papers:
        return Grid(header, grid.rows)
    rows = [[*row, printed(papers.get(variant))] for row, variant in zip(grid.rows, table.variants, strict=True)]
    return Grid([*header, paper_label(table.cells)], rows)


def _paper_notes(cells: Sequence[Estimate]) -> dict[str, str]:
    """What the paper says of its numbers, and of which rows it says so."""
    notes: dict[str, list[str]] = {}
    for cell in cells:
        if cell.paper and cell.paper.note:
            notes.setdefault(cell.paper.note, []).append(cell.variant.name)
    return {note: "; ".join(dict.fromkeys(names)) for note, names in notes.items()}


def _by_decoding(table: Table, name: str) -> Grid:
    return variants_grid(table, [(decoding, name) for decoding in table.decodings_of(name)], (with_spread,))


def _differences(table: Table, comparison: Comparison) -> Grid:
    """A row per pair of methods, two columns per decoding; a rule's gain has a row with its decodings filled."""
    decodings = [d for d in comparison.decodings if any(cell.decoding == d for cell in table.differences())]
    rows = []
    for variant in comparison.variants:
        for other in baselines(comparison, variant):
            found = [table.find(variant, decoding, f"{table.metric}_minus_{other.method}") for decoding in decodings]
            rows.append([f"{variant.name} vs. {other.label}", *(w(c) for c in found for w in (signed_bold, span))])
        own = {c.decoding: c for c in table.differences() if c.against and c.variant == variant == c.against.variant}
        if own:
            found = [own.get(decoding) for decoding in decodings]
            numbers = [write(cell) for cell in found for write in (signed_bold, span)]
            rows.append([f"{variant.name} vs. itself without the takeback rule", *numbers])
    return Grid(["pair", *(name for d in decodings for name in (decoding_label(d), INTERVAL))], rows)


def _deletions(table: Table) -> Grid:
    shown = ("sampled", "greedy")
    columns = [(d, name) for name in DELETIONS for d in table.decodings_of(name) if d in shown]
    return variants_grid(table, columns, (plain,))


def older_error_grids(table: Table) -> dict[str, Grid]:
    """By quantity: a row per method and decoding, with mean and interval for each number of tokens in between."""
    grids = {}
    for name in ("taken_back", "right_after_error", "tokens_after_error"):
        cells = [cell for cell in table.cells if cell.quantity.startswith(f"{name}[")]
        depths = sorted({int(key(cell.quantity)) for cell in cells})
        writers = (plain,) if name == "tokens_after_error" else (plain, span)
        rows = []
        for variant in table.variants:
            for decoding in sorted({cell.decoding for cell in cells}):
                found = [table.find(variant, decoding, f"{name}[{depth}]") for depth in depths]
                if any(found):
                    rows.append([variant.name, decoding_label(decoding), *(w(cell) for cell in found for w in writers)])
        header = [text for depth in depths for text in (str(depth), INTERVAL)[: len(writers)]]
        if rows:
            grids[capital(describe(name).label)] = Grid(["method", "decoding", *header], rows)
    return grids


# ---- texts ------------------------------------------------------------------------------------------


def texts_page(title: str, table: Table, comparison: Comparison, shown: Mapping[Variant, Sequence[Shown]]) -> Page:
    """Repair, the texts' measures, and what was typed after damaged prompts.

    shown: the examples of each variant with <bkspc>, of the first seed.
    """
    judges = [metrics["judge"]["model"] for metrics in comparison.runs[comparison.variants[0]]]
    content = {
        # MAUVE between policies with the same decoding, and with truncation; and the held-out losses.
        "sentences": [
            f"{capital(describe(quantity).label)}{' (lower is better)' * describe(quantity).lower}, {sentence}"
            for quantity in COMPARED
            for sentence in pair_sentences(table.differences(quantity))
        ],
        "repair": repair_grid(table, comparison, before=("held_out_nll", "held_out_nll_given_no_deletion")),
        "repair_sentence": repair_sentence(comparison),
        "older_errors": older_error_grids(table),
        "texts": _texts(table, comparison),
        "at_once": AT_ONCE,
        "shown": {f"{variant.name}: {answered(examples)}": examples for variant, examples in shown.items()},
        "caption": caption(comparison),
        "judges": ", ".join(f"`{j}` (seed {seed})" for seed, j in zip(comparison.seeds, judges, strict=True)),
        "seed": comparison.seeds[0],
        "judge": comparison.first["judge"]["description"],
    }
    return Page("texts.md.j2", title, content)


def _texts(table: Table, comparison: Comparison) -> Grid:
    names = text_measures(comparison)
    names = [names[0], "mauve", *names[1:]]  # perplexity and MAUVE are read together
    of_decoding = ("pops_per_sequence", "cut_off_share")
    rows = [["real text", "", *(with_spread(table.find(REFERENCE, "", name)) for name in names), "-", "-"]]
    for variant in comparison.variants:
        for decoding in comparison.decodings:
            if comparison.has(variant, decoding):
                found = partial(table.find, variant, decoding)
                measured = ["too few texts" if n == "mauve" and not found(n) else with_spread(found(n)) for n in names]
                row = [variant.name, decoding_label(decoding), *measured, *(plain(found(name)) for name in of_decoding)]
                rows.append(row)
    return Grid(["method", "decoding", *map(heading, (*names, *of_decoding))], rows)


def shown_of(comparison: Comparison, files: Mapping[Path, Path]) -> dict[Variant, list[Shown]]:
    """What each variant with ``<bkspc>`` wrote in the run of the first seed. files: shown.jsonl by metrics.json."""
    found = {variant: read_shown(files[metrics]) for variant, metrics in comparison.first_files.items()}
    return {variant: found[variant] for variant in comparison.variants if found[variant]}


# ---- Markdown as HTML -------------------------------------------------------------------------------


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
