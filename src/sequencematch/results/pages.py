"""The pages of tables, texts, the map and costs, in Markdown and HTML: what each template is given.

The prose is in ``templates/``. Pages are for reading; the CSV files are for computing.
"""

import html
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from sequencematch.errors import UserError
from sequencematch.results.deletions import DELETED, KEPT
from sequencematch.results.estimates import REFERENCE, SIGNIFICANCE, Estimate, Table, Variant, bracketed
from sequencematch.results.measure import baselines, comparisons, ordered, parts_of, text_measures
from sequencematch.results.measured import Measured
from sequencematch.results.runs import Comparison
from sequencematch.results.theme import printable
from sequencematch.results.words import (
    BENCHMARKS,
    BY_SEED,
    INTERVAL,
    LABELS,
    PART_LABELS,
    SIGNIFICANT,
    VERDICTS,
    Grid,
    by_variant,
    capital,
    caption,
    decoding_label,
    describe,
    enumerated,
    headed,
    heading,
    multiple,
    number,
    numbers,
    pair_sentences,
    paper_label,
    plain,
    printed,
    quantity_label,
    quartiles,
    repair_grid,
    repair_sentence,
    role_label,
    signed,
    signed_bold,
    span,
    step_verdicts,
    with_spread,
)
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.map import COLUMNS, DEFAULT, Map, Reading
from sequencematch.store.files import read_json_lines, reason

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


# ---- what a policy typed ----------------------------------------------------------------------------


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


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# ---- a page -----------------------------------------------------------------------------------------


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
            describe(n).label: by_variant(table, headed(*((d, n) for d in decodings)), with_spread)
            for n in BY_SEED
            if n not in DELETIONS and (decodings := table.decodings_of(n))
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
    columns = {decoding_label(decoding): (decoding, table.metric) for decoding in table.decodings_of(table.metric)}
    return by_variant(table, columns, with_spread, span) + paper_column(table)


def paper_column(table: Table) -> Grid:
    """The paper's number of each variant; no column where it has none."""
    papers = {cell.variant: cell.paper for cell in table.cells if cell.paper}
    rows = [[printed(papers.get(variant))] * bool(papers) for variant in table.variants]
    return Grid([paper_label(table.cells)] * bool(papers), rows)


def _paper_notes(cells: Sequence[Estimate]) -> dict[str, str]:
    """What the paper says of its numbers, and of which rows it says so."""
    notes: dict[str, list[str]] = {}
    for cell in cells:
        if cell.paper and cell.paper.note:
            notes.setdefault(cell.paper.note, []).append(cell.variant.name)
    return {note: "; ".join(dict.fromkeys(names)) for note, names in notes.items()}


def _differences(table: Table, comparison: Comparison) -> Grid:
    """A row per pair of methods, two columns per decoding; a rule's gain has a row with its decodings filled."""
    rows: list[tuple[str, list[Estimate]]] = []
    found = table.differences()
    for variant in comparison.variants:
        own = [cell for cell in found if cell.variant == variant]
        for other in baselines(comparison, variant):
            pairs = [cell for cell in own if cell.name == f"{table.metric}_minus_{other.method}"]
            rows.append((f"{variant.name} vs. {other.label}", pairs))
        if ruled := [cell for cell in own if cell.against and cell.against.variant == variant]:
            rows.append((f"{variant.name} vs. itself without a rule", ruled))
    columns = {decoding_label(d): d for d in comparison.decodings if any(cell.decoding == d for cell in found)}
    numbers_of = numbers((cells for _, cells in rows), columns, _in_decoding, signed_bold, span)
    return Grid(["pair"], [[label] for label, _ in rows]) + numbers_of


def _in_decoding(cells: Sequence[Estimate], decoding: str) -> Estimate | None:
    return next((cell for cell in cells if cell.decoding == decoding), None)


def _deletions(table: Table) -> Grid:
    shown = ("sampled", "greedy")
    columns = [(d, name) for name in DELETIONS for d in table.decodings_of(name) if d in shown]
    return by_variant(table, headed(*columns), plain)


def older_error_grids(table: Table) -> dict[str, Grid]:
    """By quantity: a row per method and decoding, with mean and interval for each number of tokens in between."""
    grids = {}
    for name in ("taken_back", "right_after_error", "tokens_after_error"):
        cells = [cell for cell in table.cells if cell.quantity.startswith(f"{name}[")]
        depths = {str(depth): f"{name}[{depth}]" for depth in sorted({int(bracketed(cell.quantity)) for cell in cells})}
        order = table.variants
        rows = sorted({(c.variant, c.decoding) for c in cells}, key=lambda row: (order.index(row[0]), row[1]))
        if rows:
            labels = Grid(["method", "decoding"], [[v.name, decoding_label(decoding)] for v, decoding in rows])
            writers = (plain,) if name == "tokens_after_error" else (plain, span)
            found = numbers(rows, depths, lambda row, quantity: table.find(*row, quantity), *writers)
            grids[capital(describe(name).label)] = labels + found
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
    perplexity, *others = text_measures(comparison)
    measures = {heading(name): name for name in (perplexity, "mauve", *others)}  # the first two are read together
    rows = [(REFERENCE, "")]
    rows += [(v, d) for v in comparison.variants for d in comparison.decodings if comparison.has(v, d)]
    labels = [["real text" if v == REFERENCE else v.name, decoding_label(d)] for v, d in rows]
    counted = {heading(name): name for name in ("pops_per_sequence", "cut_off_share")}
    found = numbers(rows, measures, lambda row, name: table.find(*row, name), with_spread)
    mauve = list(measures.values()).index("mauve")
    for row, texts in zip(rows[1:], found.rows[1:], strict=True):
        if table.find(*row, "mauve") is None:
            texts[mauve] = "too few texts"
    costs = numbers(rows, counted, lambda row, name: table.find(*row, name), plain)
    return Grid(["method", "decoding"], labels) + found + costs


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


# ---- the map ----------------------------------------------------------------------------------------


# How a difference comes out: significant after the correction, by its own interval only, or not.
OUTCOMES = ("better", "better, uncorrected", "not significant", "worse, uncorrected", "worse")


def map_page(
    described: Map, effects: Sequence[Estimate], seeds: Sequence[int], missing: Sequence[Reading] = ()
) -> Page:
    """``missing``: cells that are on the map, but not measured yet."""
    absent = []
    for axis in dict.fromkeys(reading.axis for reading in missing):
        places = dict.fromkeys(reading.at for reading in missing if reading.axis == axis)
        absent.append(f"{described.axes[axis].title} ({', '.join(places)})")
    axes = []
    for name in dict.fromkeys(effect.cell.axis for effect in effects):
        here = [effect for effect in effects if effect.cell.axis == name]
        of_axis = {"name": name, "title": described.axes[name].title, "grid": _axis_grid(described, here)}
        axes.append({**of_axis, "sentences": list(sentences(here))})
    content = {
        "caption": _map_caption(described, effects, seeds),
        "glance": glance(effects),
        "corrections": _corrections(effects),
        "absent": "; ".join(absent),
        "all_differences": all_differences(described, effects),
        "axes": axes,
    }
    return Page("map.md.j2", described.title, content)


def _map_caption(described: Map, effects: Sequence[Estimate], seeds: Sequence[int]) -> str:
    default = ", ".join(f"{role_label(role)}: `{method}`" for role, method in described.methods.items())
    return (
        f"Default cell: task `{described.task}` at η = {described.eta:g} ({default}); {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}), {effects[0].n} questions. Scores are points: accuracy in per cent, or "
        "BLEU. Intervals are 95% bootstrap intervals over seeds and questions, corrected for few seeds. Tokens are "
        "those written per answer, which is what decoding costs: deleted ones and answers not chosen are included."
    )


def _corrections(effects: Sequence[Estimate]) -> str:
    """How many comparisons are significant."""
    compared = comparisons(effects)
    return (
        f"{len(compared)} paired comparisons were made. {sum(effect.significant for effect in compared)} of them "
        f"are significant at a false discovery rate of {SIGNIFICANCE:.0%} (Benjamini and Hochberg)."
    )


def glance(effects: Sequence[Estimate]) -> Grid:
    """How many comparisons of each kind had each outcome."""
    compared = comparisons(effects)
    rows = []
    for quantity in dict.fromkeys(effect.cell.roles for effect in compared):
        for column in COLUMNS:
            chosen = [e for e in compared if (e.cell.roles, e.cell.column) == (quantity, column)]
            counts = Counter(map(outcome_of, chosen))
            if chosen:
                rows.append([quantity_label(quantity), column, *(str(counts[outcome]) for outcome in OUTCOMES)])
    return Grid(["pair", "decoding", *OUTCOMES], rows)


def outcome_of(effect: Estimate) -> str:
    """One of ``OUTCOMES``."""
    if effect.significant:
        return "better" if effect.mean > 0 else "worse"
    if effect.low is not None and effect.low > 0:
        return "better, uncorrected"
    return "worse, uncorrected" if effect.high is not None and effect.high < 0 else "not significant"


def all_differences(described: Map, effects: Sequence[Estimate]) -> Grid:
    """A line per cell, and in it every difference between roles, without its interval.

    Where several readings of a cell share a column, each but the first has a line of its own.
    """
    compared = [effect for effect in effects if effect.against and not effect.cell.roles.endswith(DEFAULT)]
    pairs = list(dict.fromkeys(effect.cell.roles for effect in compared))
    columns = {f"{quantity_label(pair)}, {column}": (column, pair) for column in COLUMNS for pair in pairs}
    first: dict[tuple[str, str, str], str] = {}
    lines: dict[str, dict[tuple[str, str], Estimate]] = {}
    for effect in compared:
        cell = effect.cell
        alone = first.setdefault((cell.axis, cell.at, cell.column), cell.reading) == cell.reading
        label = f"{described.axes[cell.axis].title}: {cell.at}"
        label += "" if alone else f", {decoding_label(cell.reading)}"
        lines.setdefault(label, {})[cell.column, cell.roles] = effect
    return Grid(["cell"], [[label] for label in lines]) + numbers(lines.values(), columns, dict.get, signed_bold)


def _axis_grid(described: Map, here: Sequence[Estimate]) -> Grid:
    """A row per cell and reading: scores, differences with their intervals, tokens."""
    rows: dict[tuple[str, str], dict[str, Estimate]] = {}
    for effect in here:
        rows.setdefault((effect.cell.at, effect.cell.reading), {})[effect.cell.roles] = effect
    roles = {role_label(role): role for role in described.methods}
    named = dict.fromkeys(e.cell.roles for e in here if e.against)
    pairs = {quantity_label(pair): pair for pair in sorted(named, key=lambda pair: pair.endswith(DEFAULT))}
    tokens = [
        [number(row[role].cell.costs["pushes_per_sequence"], 2) for role in roles.values()] for row in rows.values()
    ]
    return (
        Grid(["cell", "decoding"], [[at, decoding_label(reading)] for at, reading in rows])
        + numbers(rows.values(), roles, dict.get, plain)
        + numbers(rows.values(), pairs, dict.get, signed_bold, span)
        + Grid([f"tokens, {label}" for label in roles], tokens)
    )


def sentences(here: Sequence[Estimate]) -> Iterator[str]:
    """'SM vs. MLE, sampled: significantly better at a (+1.2) and b (+2.0); not significant at c', for each reading."""
    for quantity, reading in dict.fromkeys((e.cell.roles, e.cell.reading) for e in here if e.against):
        chosen = [e for e in here if (e.cell.roles, e.cell.reading) == (quantity, reading)]
        places: dict[str, list[str]] = {}
        for effect in chosen:
            outcome = outcome_of(effect)
            said = f"significantly {outcome}" if outcome in ("better", "worse") else "not significant"
            size = f" ({signed(effect)})" if effect.significant else ""
            places.setdefault(said, []).append(effect.cell.at + size)
        if len(places) == 1 and len(chosen) > 1:
            sizes = sorted(chosen, key=lambda effect: effect.mean)
            text = f"{next(iter(places))} in every cell ({signed(sizes[0])} to {signed(sizes[-1])})"
        else:
            text = "; ".join(f"{said} at {enumerated(ats)}" for said, ats in places.items())
        yield f"{quantity_label(quantity)}, {decoding_label(reading)}: {text}"


# ---- costs ------------------------------------------------------------------------------------------

COST_COLUMNS = (
    "step",
    "step_ratio",
    "generation",
    "steps_per_sample",
    "amortised",
    "amortised_ratio",
    "token_floor",
    "tokens",
    "padding_share",
    "peak_memory",
)
OF_PAPER = {"step_ratio": "paper, to MLE", "amortised_ratio": "paper, amortised to MLE"}


def steps_page(title: str, costs: Sequence[Estimate], measured: Measured) -> Page:
    """For each case the table, where the time goes, and whether the budgets are met."""
    settings = measured.facts["settings"]
    cases = []
    for case in measured.cases:
        rows = ordered(measured.rows(case))
        tables = {"costs": _costs(costs, case, rows), "parts": _parts(costs, case, rows)}
        cases.append({"name": case, "verdicts": step_verdicts(costs, case), **tables})
    facts = {"repeats": settings["repeats"], "eta": f"{settings['eta']:g}", "every": f"{1 / settings['pops']:.0f}"}
    return Page("steps.md.j2", title, {"caption": measured.caption, "cases": cases, **facts})


def _costs(costs: Sequence[Estimate], case: str, rows: Sequence[str]) -> Grid:
    found = {(cost.where.method, cost.quantity): cost for cost in costs if cost.where.task == case}
    columns = {describe(name).label: name for name in COST_COLUMNS}
    grid = Grid(["row"], [[LABELS[row]] for row in rows])
    grid += numbers(rows, columns, lambda row, name: found.get((row, name)), quartiles)
    papers = {label: name for name, label in OF_PAPER.items() if any(found[row, name].paper for row in rows)}
    return grid + numbers(rows, papers, lambda row, name: found[row, name], of_paper)


def of_paper(cost: Estimate | None) -> str:
    """The paper's number, '-' where it has none."""
    return number(cost.paper.value, 2) if cost and cost.paper else "-"


def _parts(costs: Sequence[Estimate], case: str, rows: Sequence[str]) -> Grid:
    amortised = {c.where.method: c.mean for c in costs if (c.where.task, c.quantity) == (case, "amortised")}
    lines = []
    for row in rows:
        parts = parts_of(costs, case, row)
        rest = amortised[row] - sum(parts.values())
        lines.append([LABELS[row], *(number(1e3 * seconds, 1) for seconds in (*parts.values(), rest))])
    return Grid(["row, milliseconds", *PART_LABELS.values(), "not accounted for"], lines)


def parts_page(costs: Sequence[Estimate], benchmark: str, caption: str) -> Page:
    """A grid of each quantity shown, and whether the speed targets are met."""
    how = BENCHMARKS[benchmark]
    grids = {}
    for quantity, name in how.shown.items():
        chosen = {(c.where.task, c.where.method): c for c in costs if c.quantity == quantity}
        cases, rows = (list(dict.fromkeys(names)) for names in zip(*chosen, strict=True))
        columns = {LABELS[row]: row for row in rows}
        found = numbers(cases, columns, lambda *place, chosen=chosen: chosen.get(place), partial(_part, how.baseline))
        grids[name] = Grid(["case"], [[case] for case in cases]) + found
    verdicts = VERDICTS[benchmark](costs) if benchmark in VERDICTS else []
    return Page("parts.md.j2", how.title, {"caption": caption, "grids": grids, "verdicts": verdicts})


def _part(baseline: str, cost: Estimate | None) -> str:
    """Median [quartiles], followed by the ratio to the baseline in all other rows."""
    if cost is None or cost.ratio is None or cost.where.method == baseline:
        return quartiles(cost)
    return f"{quartiles(cost)}, {multiple(cost.ratio)}"
