"""Compare the runs of one task with each other and with the paper: CSV, Markdown and a figure."""

from pathlib import Path

from sequencematch import script
from sequencematch.results.cells import to_csv
from sequencematch.results.comparison import read_comparison
from sequencematch.results.document import to_markdown
from sequencematch.results.paper import FILE, read_reported
from sequencematch.results.score_cells import measure, table_of
from sequencematch.results.scores_figure import plot_scores
from sequencematch.results.scores_page import scores_page
from sequencematch.settings.families import FAMILIES
from sequencematch.store import provenance
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of every run to compare")
    parser.add_argument("--table", required=True, help="name of the table, written into the CSV")
    parser.add_argument("--title", help="heading of the Markdown and the figure (default: the name)")
    parser.add_argument("--paper", type=Path, default=FILE, help=f"the paper's numbers (CSV; default: {FILE.name})")
    parser.add_argument("--csv", type=script.output, required=True, help="table to write, one line per quantity")
    parser.add_argument("--markdown", type=script.output, required=True, help="table to write, for reading")
    parser.add_argument("--figure", type=script.output, required=True, help="figure to write (PNG)")
    args = parser.parse_args()
    scored = [name for name, family in FAMILIES.items() if not family.judged]
    comparison, title = read_comparison(args.metrics, scored), args.title or args.table
    table = table_of(args.table, comparison, measure(comparison, read_reported(args.paper)))
    plot_scores(table, title, args.figure)
    write_text_atomically(args.csv, to_csv(table))
    write_text_atomically(args.markdown, to_markdown(title, scores_page(table, comparison)))
    provenance.record(args, args.csv, args.markdown, args.figure)


if __name__ == "__main__":
    script.run(main)
