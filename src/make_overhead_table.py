"""A table of what steps and sampling cost, from single numbers: CSV, Markdown, and a figure of where time goes."""

from pathlib import Path

from sequencematch import script
from sequencematch.results.estimates import Table, estimates_csv
from sequencematch.results.figures import plot_parts
from sequencematch.results.measure import measure_steps
from sequencematch.results.measured import read_measured
from sequencematch.results.pages import steps_page
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--measured", type=Path, required=True, help="folder that measure_overheads wrote")
    parser.add_argument("--table", required=True, help="name of the table, written into the CSV")
    parser.add_argument("--title", help="heading of the Markdown and the figure (default: the name)")
    parser.add_argument("--compared", default="", help="what the paper's numbers are of, as in paper_tables.csv")
    parser.add_argument("--csv", type=script.output, required=True, help="table to write, one line per quantity")
    parser.add_argument("--markdown", type=script.output, required=True, help="table to write, for reading")
    parser.add_argument("--figure", type=script.output, required=True, help="figure to write (PNG)")
    args = parser.parse_args()
    measured, title = read_measured(args.measured), args.title or args.table
    costs = measure_steps(measured, args.compared)
    plot_parts(costs, title, args.figure)
    write_text_atomically(args.csv, estimates_csv(Table(args.table, costs)))
    write_text_atomically(args.markdown, steps_page(title, costs, measured).markdown())


if __name__ == "__main__":
    script.run(main)
