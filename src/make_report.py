"""Write one self-contained HTML page about a scale's results: tables, figures, completions, times, departures."""

from pathlib import Path

from sequencematch import script
from sequencematch.store.files import write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the scale, e.g. results/default")
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of every run")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="CSV of each table")
    parser.add_argument("--titles", nargs="+", required=True, help="headings of the tables, in their order")
    parser.add_argument("--departures", type=Path, required=True, help="departures from the paper (Markdown)")
    parser.add_argument("--errata", type=Path, required=True, help="errata of the paper's appendix (Markdown)")
    parser.add_argument("--output", type=script.output, required=True, help="page to write (HTML)")
    args = parser.parse_args()

    from sequencematch.results.report import render_page

    docs = {"departures": args.departures, "errata": args.errata}
    titled = dict(zip(args.tables, args.titles, strict=True))
    write_text_atomically(args.output, render_page(args.results, args.metrics, titled, docs))


if __name__ == "__main__":
    script.run(main)
