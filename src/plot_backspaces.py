"""Draw where backspaces fall in the sampled completions of a task's runs, and what they removed."""

from pathlib import Path

from sequencematch import cli, provenance


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of the runs")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of the task's tokenizer")
    parser.add_argument("--decoding", default="sampled", help="decoding to look at (default: sampled)")
    parser.add_argument("--output", type=Path, required=True, help="figure to write (SVG)")
    args = parser.parse_args()

    from sequencematch.plots.backspaces import plot_backspaces
    from sequencematch.report.completions import read_records, removals
    from sequencematch.report.runs import read_runs
    from sequencematch.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(args.tokenizer)
    found = {}
    for run in read_runs(args.metrics):
        sequences, removed = found.setdefault(run.variant, ([], []))
        for record in read_records(run.folder / "samples.jsonl", args.decoding):
            sequences.append(record["example"])
            removed += removals(record["actions"], tokenizer.completion(record["solution"]), tokenizer.bkspc)
    counted = {variant: (len(sequences), removed) for variant, (sequences, removed) in found.items()}
    # A method without noise knows no backspace; it is shown where there is no other.
    plot_backspaces({v: c for v, c in counted.items() if v.eta} or counted, args.output)
    provenance.record(args, args.output)


if __name__ == "__main__":
    cli.run(main)
