"""Draw where backspaces fall in the sampled completions of a task's runs, and what they removed."""

from pathlib import Path

from sequencematch import script
from sequencematch.settings.families import FAMILIES
from sequencematch.store import provenance


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--metrics", type=Path, nargs="+", required=True, help="metrics.json of the runs")
    parser.add_argument("--examples", type=Path, required=True, help="folder of the task's examples")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of the task's tokenizer")
    parser.add_argument("--decoding", default="sampled", help="decoding to look at (default: sampled)")
    parser.add_argument("--output", type=script.output, required=True, help="figure to write (SVG)")
    args = parser.parse_args()

    from sequencematch.data.examples import load_examples
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.results import deletions, estimates, run_figures, runs

    provenance.check_one_tokenizer(args.tokenizer, args.examples)
    bkspc, (splits, facts) = load_tokenizer(args.tokenizer).bkspc, load_examples(args.examples)
    found: dict[estimates.Variant, tuple[list[int], list[deletions.Removal]]] = {}
    for run in runs.read_runs(args.metrics):
        whole = provenance.identity(args.examples)
        provenance.check_made_from(run.samples, "examples", whole, f"the examples in '{args.examples}'")
        examples, (sequences, removed) = splits[runs.evaluated_split(run)], found.setdefault(run.variant, ([], []))
        for record in runs.read_records(run, args.decoding):
            sequences.append(record["example"])
            removed += deletions.removals(record["actions"], examples[record["example"]].completion, bkspc)
    counted = {variant: (len(sequences), removed) for variant, (sequences, removed) in found.items()}
    # A method without noise has no backspace; it is drawn only where there is no other.
    shown = {v: c for v, c in counted.items() if v.eta} or counted
    # A free continuation has no wrong tokens: it need not equal the reference.
    run_figures.plot_backspaces(shown, args.output, known=FAMILIES[facts["family"]].reference)


if __name__ == "__main__":
    script.run(main)
