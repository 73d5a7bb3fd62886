"""A table of a benchmark from its single numbers: CSV and Markdown."""

from pathlib import Path

from sequencematch import script
from sequencematch.results.estimates import Table, estimates_csv
from sequencematch.results.measure import measure_parts
from sequencematch.results.measured import read_measured
from sequencematch.results.pages import parts_page
from sequencematch.results.words import BENCHMARKS
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--measured", type=Path, required=True, help="folder that measure_overheads wrote")
    parser.add_argument("--benchmark", choices=tuple(BENCHMARKS), required=True, help="what was timed")
    parser.add_argument("--csv", type=script.output, required=True, help="table to write, one line per quantity")
    parser.add_argument("--markdown", type=script.output, required=True, help="table to write, for reading")
    args = parser.parse_args()
    measured, benchmark = read_measured(args.measured), BENCHMARKS[args.benchmark]
    costs = measure_parts(measured, benchmark.baseline)
    write_text_atomically(args.csv, estimates_csv(Table(args.benchmark, costs)))
    write_text_atomically(args.markdown, parts_page(costs, args.benchmark, measured.caption).markdown())


if __name__ == "__main__":
    script.run(main)
