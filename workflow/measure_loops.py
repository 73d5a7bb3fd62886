"""How often greedy decoding with ``<bkspc>`` loops: answers that are cut off while they write and delete one token.

A policy's state does not remember what was deleted. So where the most likely action after a token is to delete it,
greedy decoding writes and deletes it until its actions run out. For example:

    python workflow/measure_loops.py results/default/mul --models bc/eta=0.2/seed=1 sm/eta=0.2/seed=1 --output loops
"""

from pathlib import Path
from statistics import mean

from trials import keep

from sequencematch import script
from sequencematch.store.provenance import identity

DECODINGS = ["sampled", "greedy", "greedy+bkspc_bias=-2", "greedy+bkspc_masked", "greedy+takeback_ratio=0.3"]


def main() -> None:
    parser = script.parser(__doc__.split("\n\n")[0])
    parser.add_argument("task", type=Path, help="folder of a task's results: examples, tokenizer and models")
    parser.add_argument("--models", nargs="+", required=True, help="runs of the task, or other folders with a model/")
    parser.add_argument("--decodings", nargs="+", default=DECODINGS, help=f"decodings (default: {' '.join(DECODINGS)})")
    parser.add_argument("--questions", type=int, default=64, help="validation questions (default: 64)")
    parser.add_argument("--max-actions", type=int, default=32, help="actions of an answer (default: 32)")
    parser.add_argument("--output", type=script.output, required=True, help="folder to write")
    args = parser.parse_args()
    models = {name: Path(name) / "model" if Path(name).is_dir() else args.task / name / "model" for name in args.models}
    measured = {
        name: measure(args.task, model, args.decodings, args.questions, args.max_actions)
        for name, model in models.items()
    }
    identities = {name: identity(model) for name, model in models.items()}
    keep(args.output, measured, table(measured), models=identities, questions=args.questions)


def measure(task: Path, model: Path, decodings: list[str], count: int, max_actions: int) -> dict[str, dict[str, float]]:
    """Of each decoding: the shares of answers that are right, and that are cut off in a loop; deletions per answer."""
    from sequencematch.data.examples import load_examples
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.evaluation.completions import complete
    from sequencematch.model.build import load_policy
    from sequencematch.settings.evaluation import Evaluation

    tokenizer = load_tokenizer(task / "tokenizer")
    policy, _ = load_policy(model)
    splits, facts = load_examples(task / "examples")
    settings = Evaluation(split="validation", decodings=tuple(decodings), max_actions=max_actions)
    records = list(complete(policy, splits["validation"][:count], facts["family"], "random", settings, 1, tokenizer))
    loop = max_actions // 4  # deletions in an answer that was cut off: fewer, and it is merely long
    found = {}
    for name in dict.fromkeys(record["decoding"] for record in records):
        own = [record for record in records if record["decoding"] == name]
        found[name] = {
            "right": mean(record["text"] == record["solution"] for record in own),
            "loops": mean(not record["finished"] and record["pops"] >= loop for record in own),
            "deletions": mean(record["pops"] for record in own),
        }
    return found


def table(measured: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown, a row for each model and decoding."""
    lines = ["| model | decoding | right | loops | deletions |", "| --- | --- | --- | --- | --- |"]
    for model, decodings in measured.items():
        for name, found in decodings.items():
            cells = " | ".join(f"{value:.2f}" for value in found.values())
            lines.append(f"| {model} | {name} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    script.run(main)
