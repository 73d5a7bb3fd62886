"""Compare the runs of one task with each other and with the paper: a CSV, a page (Markdown, HTML) and a figure."""

from pathlib import Path

from sequencematch import script
from sequencematch.results import estimates, figures, measure, pages, runs
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of every run to compare")
    parser.add_argument("--table", required=True, help="name of the table, written into the CSV")
    parser.add_argument("--title", help="heading of the page and the figure (default: the name)")
    parser.add_argument("--csv", type=script.output, required=True, help="table to write, one line per quantity")
    parser.add_argument("--markdown", type=script.output, required=True, help="page to write")
    parser.add_argument("--html", type=script.output, required=True, help="the same page as one self-contained file")
    parser.add_argument("--figure", type=script.output, required=True, help="figure to write (PNG)")
    args = parser.parse_args()
    comparison, title = runs.read_comparison(args.metrics), args.title or args.table
    table = measure.measure(args.table, comparison)
    page = pages.table_page(title, table, comparison)
    figures.plot_table(table, title, args.figure)
    write_text_atomically(args.csv, estimates.estimates_csv(table))
    write_text_atomically(args.markdown, page.markdown())
    write_text_atomically(args.html, page.html())


if __name__ == "__main__":
    script.run(main)
