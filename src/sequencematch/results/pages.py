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
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from sequencematch.results import deletions, estimates, measure, theme, words
from sequencematch.results.estimates import REFERENCE, SIGNIFICANCE, Estimate, Table, grouped, medians, variant_of
from sequencematch.results.measured import Measured
from sequencematch.results.runs import BUDGET_NAMES, Comparison
from sequencematch.results.words import Grid, Writer, capital, decoding_label, describe, numbers
from sequencematch.settings.map import COLUMNS, DEFAULT, MINUS, Map
from sequencematch.store.files import read_json_lines, read_text

TEMPLATES = Path(__file__).with_name("templates")
MARKDOWN = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True)
MARKDOWN.globals |= {"interval": words.INTERVAL, "capital": capital, "budget_names": BUDGET_NAMES}
HTML = Environment(
    loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
)
DELETIONS = ("pushes_per_sequence", "pops_per_sequence", "deletions_per_sequence", "wrong_pop_share", "cut_off_share")
COMPARED = ("mauve", "held_out_nll")  # in words, of text


def shown_text(shown: Sequence[dict]) -> str:
    """What one policy wrote, as a code block in which every ``<bkspc>`` is visible."""
    texts = (f"{_said(one)}\nprompt: {one['prompt']}\ntyped:  {one['rendered']}" for one in shown)
    text = theme.printable("\n\n".join(texts))
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])  # longer than any in the text
    return f"{fence}text\n{text}\n{fence}"


def shown_html(shown: Sequence[dict]) -> str:
    """What one policy wrote in HTML, with deleted tokens marked."""
    return "\n".join(
        f'<div class="shown"><p class="text"><span class="prompt">{_escaped(one["prompt"])}</span>'
        f'{marked(one["pieces"], damaged=True)}</p><p class="said">{_escaped(_said(one))}</p></div>'
        for one in shown
    )


def _said(one: dict) -> str:
    answer = "answered at once" if one["answered_at_once"] else "not answered at once"
    wrong, true = (json.dumps(one[name], ensure_ascii=False) for name in ("wrong", "true"))
    return f"example {one['example']}: {wrong} in place of {true}, {answer}"


def marked(pieces: Sequence[Sequence[str]], damaged: bool = False) -> str:
    """(text, fate) in the order typed as HTML: deleted text is struck through, the first word after it underlined.

    damaged: the first piece is the given wrong token, which is marked if it was not deleted.
    """
    found = []
    for place, (fate, run) in enumerate(itertools.groupby(pieces, key=lambda piece: piece[1])):
        texts = [text for text, _ in run]
        text = "".join(texts)
        if fate == deletions.DELETED:
            found.append(_tagged("del", "deleted", _visible(text)))
        elif place:
            _, word, rest = re.split(r"^(\s*\S*)", text, maxsplit=1)
            found += [_tagged("ins", "written", word), _escaped(rest)]
        elif damaged:
            found += [_tagged("mark", "wrong token kept", _visible(texts[0])), _escaped("".join(texts[1:]))]
        else:
            found.append(_escaped(text))
    return "".join(found)


def _tagged(tag: str, aloud: str, text: str) -> str:
    return f'<{tag}><span class="aloud">{aloud}: </span>{_escaped(text)}</{tag}>'


def _visible(text: str) -> str:
    """The text with visible signs for line ends and for single spaces, whose marks could not be seen otherwise."""
    return text.replace("\n", "↵") if text.strip() else text.replace("\n", "↵").replace(" ", "␣")


def _escaped(text: str) -> str:
    return html.escape(theme.printable(text))


@dataclass(frozen=True)
class Page:
    """A Markdown template and what it shows. Only images that it names lie outside of the page.

    typed: the examples that stand at its lines 'typed-0', 'typed-1', ...
    """

    template: str
    title: str
    content: Mapping
    typed: Sequence[Sequence[dict]] = ()

    def markdown(self) -> str:
        """The whole page as Markdown."""
        return re.sub(r"(?m)^typed-(\d+)$", lambda found: shown_text(self.typed[int(found[1])]), self._filled(""))

    def html(self) -> str:
        """The whole page as one HTML file."""
        style = styles("shared.css", "page.css")
        return HTML.get_template("page.html.j2").render(title=self.title, style=style, body=self.part("", 2))

    def part(self, block: str, level: int) -> Markup:
        """A block of the template as HTML, its highest heading of a level; '' is all of it, without the title."""
        text = self._filled(block)
        body = render(text if block else text.partition("\n")[2], level, self.title)
        return Markup(re.sub(r"<p>typed-(\d+)</p>", lambda found: shown_html(self.typed[int(found[1])]), body))

    def _filled(self, block: str) -> str:
        template = MARKDOWN.get_template(self.template)
        draw = template.blocks[block] if block else template.root_render_func
        text = "".join(draw(template.new_context({"title": self.title, **self.content})))
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def styles(*names: str) -> Markup:
    """The style sheets of these names, as one."""
    return Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names))


def table_page(title: str, table: Table, comparison: Comparison) -> Page:
    """What the intervals support, the numbers, and how they were made; of texts, also what the first seed shows."""
    content: dict[str, Any] = {"older_errors": older_error_grids(table), "compared": comparison}
    if table.metric:
        return Page("scores.md.j2", title, content | _scores(table, comparison))
    shown = {}  # none for a policy without <bkspc>
    for variant in comparison.variants:
        file = comparison.first_files[variant].with_name("shown.jsonl")
        if examples := [example for _, example in read_json_lines(file, "sample again")]:
            shown[variant.name] = examples
    content["typed"] = {name: [one["answered_at_once"] for one in examples] for name, examples in shown.items()}
    return Page("texts.md.j2", title, content | _texts(table, comparison), list(shown.values()))


def by_variant(table: Table, columns: Mapping[str, tuple[str, str]], *writers: Writer) -> Grid:
    """A row per variant of a table; ``columns``: decoding and quantity of each heading."""
    labels = Grid(["method"], [[variant.name] for variant in table.variants])
    return labels + numbers(table.variants, columns, lambda variant, column: table.find(variant, *column), *writers)


def headed(*columns: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """Decodings and quantities by their heading: 'accuracy, greedy'."""
    return {", ".join(filter(None, (words.heading(what), decoding_label(at)))): (at, what) for at, what in columns}


def repair_grid(table: Table, comparison: Comparison, before: Sequence[str] = ()) -> Grid:
    """Repair and false-alarm rate of each variant under each kind of corruption, after the columns ``before``."""
    columns = [*before, *(f"{name}[{kind}]" for kind in comparison.corruptions for name in words.BACKSPACE.values())]
    return by_variant(table, headed(*(("", column) for column in columns)), words.plain, words.span)


def _scores(table: Table, comparison: Comparison) -> dict:
    """Scores with the paper's, differences, and deletions."""
    score, papers = table.metric, {cell.variant: cell for cell in table.cells if cell.paper}
    notes: dict[str, list[str]] = {}  # what the paper says of its numbers, and of which rows
    for variant, cell in papers.items():
        if cell.paper and cell.paper.note:
            notes.setdefault(cell.paper.note, []).append(variant.name)
    columns = {decoding_label(decoding): (decoding, score) for decoding in table.decodings_of(score)}
    sources = dict.fromkeys(cell.paper.source for cell in papers.values() if cell.paper)
    paper = {f"paper ({', '.join(sources)})": None} if sources else {}  # no column where it reports nothing
    deletions = [(d, n) for n in DELETIONS for d in table.decodings_of(n) if d in ("sampled", "greedy")]
    return {
        "sentences": words.pair_sentences(table.differences()),
        "label": describe(score).label,
        "scores": by_variant(table, columns, words.with_spread, words.span)
        + numbers(table.variants, paper, lambda variant, _: papers.get(variant), words.printed),
        "paper_notes": notes if papers else None,
        "others": {
            describe(n).label: by_variant(table, headed(*((d, n) for d in decodings)), words.with_spread)
            for n in words.BY_SEED
            if n not in DELETIONS and (decodings := table.decodings_of(n))
        },
        "differences": _differences(table, comparison),
        "repair": repair_grid(table, comparison) if comparison.corruptions else "",
        "deletions": by_variant(table, headed(*deletions), words.plain),
        "signature": comparison.first["decodings"][comparison.decodings[0]].get("signature"),
    }


def _differences(table: Table, comparison: Comparison) -> Grid:
    """A row per pair of methods, two columns per decoding; a rule's gain has a row with its decodings filled."""
    labels, rows, found = [], [], table.differences()
    for variant in comparison.variants:
        own = [cell for cell in found if cell.variant == variant]
        for other in measure.baselines(comparison, variant):
            labels.append([f"{variant.name} vs. {other.label}"])
            rows.append({cell.decoding: cell for cell in own if cell.name == f"{table.metric}_minus_{other.method}"})
        if ruled := {cell.decoding: cell for cell in own if cell.against and variant_of(cell.against) == variant}:
            labels.append([f"{variant.name} vs. itself without a rule"])
            rows.append(ruled)
    columns = {decoding_label(d): d for d in comparison.decodings if any(cell.decoding == d for cell in found)}
    return Grid(["pair"], labels) + numbers(rows, columns, dict.get, words.signed_bold, words.span)


def older_error_grids(table: Table) -> dict[str, Grid]:
    """By quantity: a row per method and decoding, with mean and interval for each number of tokens in between."""
    grids, order = {}, table.variants
    for name in ("taken_back", "right_after_error", "tokens_after_error"):
        cells = [cell for cell in table.cells if cell.quantity.startswith(f"{name}[")]
        between = sorted({int(estimates.bracketed(cell.quantity)) for cell in cells})
        depths = {str(depth): f"{name}[{depth}]" for depth in between}
        rows = sorted({(c.variant, c.decoding) for c in cells}, key=lambda row: (order.index(row[0]), row[1]))
        if rows:
            labels = Grid(["method", "decoding"], [[v.name, decoding_label(decoding)] for v, decoding in rows])
            writers = (words.plain,) if name == "tokens_after_error" else (words.plain, words.span)
            found = numbers(rows, depths, lambda row, quantity: table.find(*row, quantity), *writers)
            grids[capital(describe(name).label)] = labels + found
    return grids


def _texts(table: Table, comparison: Comparison) -> dict:
    """Repair and held-out losses, and the texts' measures."""
    judges = [metrics["judge"]["model"] for metrics in comparison.runs[comparison.variants[0]]]
    return {
        # MAUVE between policies with the same decoding, and with truncation; and the held-out losses.
        "sentences": [
            f"{capital(describe(quantity).label)}{' (lower is better)' * describe(quantity).lower}, {sentence}"
            for quantity in COMPARED
            for sentence in words.pair_sentences(table.differences(quantity))
        ],
        "repair": repair_grid(table, comparison, before=("held_out_nll", "held_out_nll_given_no_deletion")),
        "texts": _text_grid(table, comparison),
        "judges": ", ".join(f"`{j}` (seed {seed})" for seed, j in zip(comparison.seeds, judges, strict=True)),
        "seed": comparison.seeds[0],
        "judge": comparison.first["judge"]["description"],
    }


def _text_grid(table: Table, comparison: Comparison) -> Grid:
    perplexity, *others = measure.text_measures(comparison)
    measures = {words.heading(name): name for name in (perplexity, "mauve", *others)}  # the first two are read together
    rows = [(REFERENCE, "")]
    rows += [(v, d) for v in comparison.variants for d in comparison.decodings if comparison.has(v, d)]
    labels = [["real text" if v == REFERENCE else v.name, decoding_label(d)] for v, d in rows]
    counted = {words.heading(name): name for name in ("pops_per_sequence", "cut_off_share")}
    found = numbers(rows, measures, lambda row, name: table.find(*row, name), words.with_spread)
    for row in found.rows[1:]:
        row[1] = "too few texts" if row[1] == "-" else row[1]  # for MAUVE
    costs = numbers(rows, counted, lambda row, name: table.find(*row, name), words.plain)
    return Grid(["method", "decoding"], labels) + found + costs


def render_file(path: Path, level: int) -> Markup:
    """A Markdown file, which begins with its title, as HTML without the title; see ``render``."""
    title, _, rest = read_text(path, "take it from the repository again").partition("\n")
    return render(rest, level, title.removeprefix("# "))


def render(text: str, level: int, name: str) -> Markup:
    """Markdown as HTML whose highest heading is ``level``. HTML inside the text is escaped.

    The heading above a table is its caption for screen readers (``name`` if there is none). Links to other files of the
    repository become plain text, because the page is read without them.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    headings = [token for token in tokens if token.type == "heading_open"]
    shift = level - min((int(token.tag[1]) for token in headings), default=level)
    caption, numbers, out = name, itertools.count(1), []
    for i, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + shift)}"
        if token.type == "heading_open":
            caption = tokens[i + 1].content
        elif token.type == "inline":
            local = False  # whether the link that is open leads to a file of the repository
            for child in token.children or []:
                if child.type == "link_open":
                    local = "://" not in str(child.attrGet("href"))
                child.hidden = local and child.type in ("link_open", "link_close")
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


def map_page(described: Map, effects: Sequence[Estimate], seeds: Sequence[int]) -> Page:
    """Every comparison of the map, counted, in one grid, and axis by axis."""
    compared = measure.comparisons(effects)
    content = {
        "map": described,
        "seeds": seeds,
        "questions": effects[0].n,
        "glance": glance(effects),
        "compared": len(compared),
        "significant_ones": sum(effect.significant for effect in compared),
        "rate": f"{SIGNIFICANCE:.0%}",
        "all_differences": all_differences(described, effects),
        "axes": [
            {"name": name, "grid": _axis_grid(described, here), "sentences": list(sentences(here))}
            for name, here in grouped(effects, lambda effect: effect.cell.axis).items()
        ],
    }
    return Page("map.md.j2", described.title, content)


def glance(effects: Sequence[Estimate]) -> Grid:
    """How many comparisons of each kind had each outcome."""
    kinds = grouped(measure.comparisons(effects), lambda effect: effect.cell.roles)
    rows = [
        [quantity_label(quantity), column, *(str(counts[word]) for word in words.OUTCOMES)]
        for quantity, column in itertools.product(kinds, COLUMNS)
        if (counts := Counter(words.outcome(e) for e in kinds[quantity] if e.cell.column == column))
    ]
    return Grid(["pair", "decoding", *words.OUTCOMES], rows)


def quantity_label(quantity: str) -> str:
    """'SM vs. MLE' for 'sm_minus_mle', 'SM vs. default' for a difference to the default cell."""
    first, second = quantity.split(MINUS)
    return f"{first.upper()} vs. {'default' if second == DEFAULT else second.upper()}"


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
        label = f"{described.axes[cell.axis].title}: {cell.at}" + ("" if alone else f", {decoding_label(cell.reading)}")
        lines.setdefault(label, {})[cell.column, cell.roles] = effect
    return Grid(["cell"], [[label] for label in lines]) + numbers(lines.values(), columns, dict.get, words.signed_bold)


def _axis_grid(described: Map, here: Sequence[Estimate]) -> Grid:
    """A row per cell and reading: scores, differences with their intervals, tokens."""
    cells = grouped(here, lambda effect: (effect.cell.at, effect.cell.reading))
    rows = [{effect.cell.roles: effect for effect in cell} for cell in cells.values()]
    roles = {role.upper(): role for role in described.methods}
    named = dict.fromkeys(e.cell.roles for e in here if e.against)
    pairs = {quantity_label(pair): pair for pair in sorted(named, key=lambda pair: pair.endswith(DEFAULT))}

    def tokens(cell: Estimate) -> str:
        return words.number(cell.cell.costs["pushes_per_sequence"], 2)

    return (
        Grid(["cell", "decoding"], [[at, decoding_label(reading)] for at, reading in cells])
        + numbers(rows, roles, dict.get, words.plain)
        + numbers(rows, pairs, dict.get, words.signed_bold, words.span)
        + numbers(rows, {f"tokens, {label}": role for label, role in roles.items()}, dict.get, tokens)
    )


def sentences(here: Sequence[Estimate]) -> Iterator[str]:
    """'SM vs. MLE, sampled: significantly better at a (+1.2) and b (+2.0); not significant at c', for each reading."""
    pairs = grouped((e for e in here if e.against), lambda effect: (effect.cell.roles, effect.cell.reading))
    for (quantity, reading), chosen in pairs.items():
        verdicts = grouped(chosen, words.verdict)
        if len(verdicts) == 1 and len(chosen) > 1:
            sizes = sorted(chosen, key=lambda effect: effect.mean)
            text = f"{next(iter(verdicts))} in every cell ({words.signed(sizes[0])} to {words.signed(sizes[-1])})"
        else:
            said = {
                name: [e.cell.at + f" ({words.signed(e)})" * e.significant for e in cells]
                for name, cells in verdicts.items()
            }
            text = "; ".join(f"{name} at {words.enumerated(places)}" for name, places in said.items())
        yield f"{quantity_label(quantity)}, {decoding_label(reading)}: {text}"


COST_COLUMNS = (
    "step step_ratio generation steps_per_sample amortised amortised_ratio token_floor tokens padding_share peak_memory"
).split()
OF_PAPER = {"step_ratio": "paper, to MLE", "amortised_ratio": "paper, amortised to MLE"}


def steps_page(title: str, costs: Sequence[Estimate], measured: Measured) -> Page:
    """For each case the table, where the time goes, and whether the budgets are met."""
    settings, cases = measured.facts["settings"], []
    for case in measured.cases:
        here = [cost for cost in costs if cost.where.task == case]
        rows = measure.ordered(measured.rows(case))
        papers = {label: n for n, label in OF_PAPER.items() if any(c.paper for c in here if c.quantity == n)}
        columns = {describe(name).label: name for name in COST_COLUMNS}
        tables = {"costs": cost_grid(here, columns, papers, words.quartiles), "parts": _parts(costs, case, rows)}
        cases.append({"name": case, "verdicts": words.step_verdicts(costs, case), **tables})
    return Page("steps.md.j2", title, {"caption": _caption(measured.facts), "cases": cases, "settings": settings})


def _caption(facts: dict) -> str:
    return MARKDOWN.get_template("measured.j2").render(facts)


def cost_grid(costs: Sequence[Estimate], columns: Mapping[str, str], papers: Mapping[str, str], writer: Writer) -> Grid:
    """A row per row of a case, from the naive way to ours: quantities by their heading, and the paper's numbers."""
    found = {(cost.where.method, cost.quantity): cost for cost in costs}
    rows = measure.ordered(list(dict.fromkeys(cost.where.method for cost in costs)))

    def paper(cost: Estimate) -> str:
        return words.number(cost.paper.value, 2) if cost.paper else "-"

    return (
        Grid(["row"], [[words.LABELS[row]] for row in rows])
        + numbers(rows, columns, lambda *place: found.get(place), writer)
        + numbers(rows, papers, lambda *place: found.get(place), paper)
    )


def _parts(costs: Sequence[Estimate], case: str, rows: Sequence[str]) -> Grid:
    amortised, lines = medians(costs, case), []
    for row in rows:
        parts = measure.parts_of(costs, case, row)
        rest = amortised[row, "amortised"] - sum(parts.values())
        lines.append([words.LABELS[row], *(words.number(1e3 * seconds, 1) for seconds in (*parts.values(), rest))])
    return Grid(["row, milliseconds", *words.PART_LABELS.values(), "not accounted for"], lines)


def parts_page(costs: Sequence[Estimate], benchmark: str, facts: dict) -> Page:
    """A grid of each quantity shown, and whether the speed targets are met."""
    how, grids = words.BENCHMARKS[benchmark], {}

    def written(cost: Estimate) -> str:
        """Median [quartiles], followed by the ratio to the baseline in all other rows."""
        ratio = "" if cost.ratio is None or cost.where.method == how.baseline else f", {words.number(cost.ratio, 2)} x"
        return words.quartiles(cost) + ratio

    for quantity in how.shown:
        chosen = {(c.where.task, c.where.method): c for c in costs if c.quantity == quantity}
        cases, rows = (list(dict.fromkeys(names)) for names in zip(*chosen, strict=True))
        found = numbers(cases, {words.LABELS[row]: row for row in rows}, lambda *at, of=chosen: of.get(at), written)
        grids[capital(describe(quantity).label)] = Grid(["case"], [[case] for case in cases]) + found
    verdicts = words.benchmark_verdicts(costs)
    return Page("parts.md.j2", how.title, {"caption": _caption(facts), "grids": grids, "verdicts": verdicts})
