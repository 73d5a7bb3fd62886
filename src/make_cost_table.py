"""Show what a part of an overhead table cost, from single numbers: CSV, Markdown, of steps and growth also a figure."""

from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.results import estimates, figures, measure, pages
from sequencematch.results.measured import read_measured
from sequencematch.results.words import BENCHMARKS
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--measured", type=Path, required=True, help="folder that measure_overheads wrote")
    parser.add_argument("--part", choices=("steps", *BENCHMARKS), required=True, help="what was timed")
    parser.add_argument("--table", help="name of the table, written into the CSV (default: the part)")
    parser.add_argument("--title", help="heading of the Markdown and the figure of steps (default: the name)")
    parser.add_argument("--compared", default="", help="what the paper's numbers are of, as in paper_tables.csv")
    parser.add_argument("--csv", type=script.output, required=True, help="table to write, one line per quantity")
    parser.add_argument("--markdown", type=script.output, required=True, help="table to write, for reading")
    parser.add_argument("--figure", type=script.output, help="figure to write (PNG), of steps or growth")
    args = parser.parse_args()
    if args.figure and args.part not in ("steps", "growth"):
        raise UserError(f"there is no figure of {args.part}: leave out --figure")
    measured, name = read_measured(args.measured), args.table or args.part
    if args.part == "steps":
        title = args.title or name
        costs = measure.measure_steps(measured, args.compared)
        page = pages.steps_page(title, costs, measured)
        if args.figure:
            figures.plot_parts(costs, title, args.figure)
    else:
        costs = measure.measure_parts(measured, BENCHMARKS[args.part].baseline)
        page = pages.parts_page(costs, args.part, measured.facts)
        if args.figure:
            figures.plot_growth(measured, BENCHMARKS[args.part].title, args.figure)
    write_text_atomically(args.csv, estimates.estimates_csv(estimates.Table(name, costs)))
    write_text_atomically(args.markdown, page.markdown())


if __name__ == "__main__":
    script.run(main)
