"""Draw the mask of the first noised example that has a backspace, as state tree and as Algorithm 2."""

from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--noised", type=Path, required=True, help="folder of noised examples (eta above 0)")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--output", type=script.output, required=True, help="figure to write (SVG)")
    args = parser.parse_args()

    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.results.run_figures import plot_masks, shorten
    from sequencematch.store.datasets import load
    from sequencematch.trace import BKSPC, trace

    tokenizer = load_tokenizer(args.tokenizer)
    for row in load(args.noised)[0]["train"]:
        parts = ([tokenizer.render([token]) for token in row[name]] for name in ("prompt", "actions"))
        prompt, actions = shorten(*parts)
        if BKSPC in actions:
            plot_masks(trace(prompt, actions), args.output)
            return
    raise UserError(f"no example in '{args.noised}' has a backspace: name noised examples of a higher eta")


if __name__ == "__main__":
    script.run(main)
