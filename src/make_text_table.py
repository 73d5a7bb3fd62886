"""Compare runs on open text: what <bkspc> repairs, and how good the text is, as CSV, Markdown, HTML, text and a figure.

The runs' shown.jsonl are given in the order of their metrics.
"""

from collections.abc import Sequence
from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.results.cells import to_csv
from sequencematch.results.comparison import Comparison, read_comparison
from sequencematch.results.document import to_html, to_markdown
from sequencematch.results.metrics_file import read_metrics
from sequencematch.results.score_cells import table_of
from sequencematch.results.showcase import Shown, read_shown
from sequencematch.results.texts import measure_text
from sequencematch.results.texts_figure import plot_texts
from sequencematch.results.texts_page import text_page, to_text
from sequencematch.results.variants import Variant
from sequencematch.store import provenance
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of every run to compare")
    parser.add_argument("--shown", type=Path, nargs="+", required=True, help="shown.jsonl of every run, in that order")
    parser.add_argument("--table", required=True, help="name of the table, written into the CSV")
    parser.add_argument("--title", help="heading of the pages and the figure (default: the name)")
    parser.add_argument("--csv", type=script.output, required=True, help="table to write, one line per quantity")
    parser.add_argument("--markdown", type=script.output, required=True, help="page to write")
    parser.add_argument("--html", type=script.output, required=True, help="the same page as one self-contained file")
    parser.add_argument("--text", type=script.output, required=True, help="the shown examples as plain text, to write")
    parser.add_argument("--figure", type=script.output, required=True, help="figure to write (PNG)")
    args = parser.parse_args()
    if len(args.shown) != len(args.metrics):
        raise UserError(
            f"{len(args.metrics)} files after --metrics, but {len(args.shown)} after --shown: give one of each per run"
        )
    comparison, title = read_comparison(args.metrics, ("text",)), args.title or args.table
    table = table_of(args.table, comparison, measure_text(comparison))
    shown = first_seed(comparison, args.metrics, args.shown)
    blocks = text_page(table, comparison, shown)
    plot_texts(table, title, args.figure)
    write_text_atomically(args.csv, to_csv(table))
    write_text_atomically(args.markdown, to_markdown(title, blocks))
    write_text_atomically(args.html, to_html(title, blocks))
    write_text_atomically(args.text, to_text(title, shown))
    provenance.record(args, args.csv, args.markdown, args.html, args.text, args.figure)


def first_seed(comparison: Comparison, metrics: Sequence[Path], shown: Sequence[Path]) -> dict[Variant, list[Shown]]:
    """What each variant with <bkspc> wrote in the run of the first seed."""
    files = {}
    for run, file in zip(metrics, shown, strict=True):
        names = read_metrics(run)
        files[Variant(names["method"], names["eta"]), names["seed"]] = file
    found = {variant: read_shown(files[variant, comparison.seeds[0]]) for variant in comparison.variants}
    return {variant: examples for variant, examples in found.items() if examples}


if __name__ == "__main__":
    script.run(main)
