"""Compare the runs of one task with each other and with the paper: a CSV, a page (Markdown, HTML) and a figure."""

from pathlib import Path

from sequencematch import script
from sequencematch.results.estimates import estimates_csv
from sequencematch.results.figures import plot_table
from sequencematch.results.measure import measure
from sequencematch.results.pages import table_page
from sequencematch.results.runs import read_comparison
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
    comparison, title = read_comparison(args.metrics), args.title or args.table
    table = measure(args.table, comparison)
    page = table_page(title, table, comparison)
    plot_table(table, title, args.figure)
    write_text_atomically(args.csv, estimates_csv(table))
    write_text_atomically(args.markdown, page.markdown())
    write_text_atomically(args.html, page.html())


if __name__ == "__main__":
    script.run(main)
