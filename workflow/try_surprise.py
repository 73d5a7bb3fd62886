"""The logit of ``<bkspc>``, trained with the surprise at the last token as an input: does it help a trained model?

This adds b + w times the surprise, -log pi of the last live token, to the logit that a finished model of BC or
SequenceMatch gives to ``<bkspc>``. b and w are fitted by maximum likelihood on the noised training data; the network is
not changed. Validation questions are then answered with and without the addition. For example:

    python workflow/try_surprise.py --results results/default --task mul --eta 0.2 --output surprise
"""

from pathlib import Path
from statistics import mean, stdev

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store import provenance
from sequencematch.store.files import atomic_folder, write_json

FITTED_ON = 1000  # trajectories
CHUNK = 25  # trajectories that are read at a time
DECODINGS = {"sampled": "{}", "greedy": "greedy+{}", "perturbed=0.1": "{}+perturbed=0.1"}  # without it, and with it


def main() -> None:
    parser = script.parser(__doc__.split("\n\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a scale, whose models are sampled")
    parser.add_argument("--task", default="mul", help="task (default: mul)")
    parser.add_argument("--methods", nargs="+", default=["bc", "sm"], help="methods (default: bc sm)")
    parser.add_argument("--eta", default="0.2", help="noise level, as in the names of folders (default: 0.2)")
    parser.add_argument("--examples", type=int, default=400, help="validation questions (default: 400)")
    parser.add_argument("--max-actions", type=int, default=24, help="actions of an answer (default: 24)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    task = args.results / args.task
    models = {name: sorted(task.glob(f"{name}/eta={args.eta}/seed=*/model")) for name in args.methods}
    if missing := [name for name, found in models.items() if not found]:
        raise UserError(f"'{task}' holds no models of the method {missing[0]} at eta={args.eta}: make its tables first")
    measured = {
        method: [measure(task, model, args.eta, args.examples, args.max_actions) for model in found]
        for method, found in models.items()
    }
    with atomic_folder(args.output) as output:
        write_json(output / "measured.json", measured)
        facts = {"models": [provenance.identity(m) for found in models.values() for m in found], "task": args.task}
        write_json(output / "provenance.json", facts | provenance.describe())
        (output / "table.md").write_text(table(measured), encoding="utf-8")
    print(table(measured))


def measure(task: Path, model: Path, eta: str, count: int, max_actions: int) -> dict[str, float]:
    """b, w, the loss of ``<bkspc>`` on noised validation data and the score of each decoding, without and with them."""
    from sequencematch.data.examples import load_examples
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.evaluation.completions import complete
    from sequencematch.model.build import load_policy
    from sequencematch.scores.bleu import translation_scores
    from sequencematch.settings.evaluation import Evaluation
    from sequencematch.training.batches import load_corpora

    seed = int(model.parent.name.removeprefix("seed="))
    tokenizer = load_tokenizer(task / "tokenizer")
    policy, _ = load_policy(model)
    policy.eval()
    corpora = load_corpora(task / f"noised/eta={eta}/seed={seed}", tokenizer.special_ids["eos"])
    train, validation = (states(policy, corpus.draws[0][:FITTED_ON]) for corpus in corpora)
    splits, facts = load_examples(task / "examples")
    bias, weight = (round(value, 3) + 0.0 for value in fit(train))
    added = f"bkspc_bias={bias:g}+surprise={weight:g}"
    names = [name for decoding, with_added in DECODINGS.items() for name in (decoding, with_added.format(added))]
    settings = Evaluation(split="validation", decodings=tuple(names), max_actions=max_actions)
    examples = splits["validation"][:count]
    records = list(complete(policy, examples, facts["family"], "task", settings, seed, tokenizer))
    found = {"b": bias, "w": weight, "loss": loss(validation, 0.0, 0.0), "loss with": loss(validation, bias, weight)}
    for name, decoding in zip(names, (x for d in DECODINGS for x in (d, f"{d} with")), strict=True):
        own = [record for record in records if record["decoding"] == name]
        if facts["family"] == "translation":
            found[decoding] = translation_scores([r["text"] for r in own], [r["solution"] for r in own])["bleu"]
        else:
            found[decoding] = 100 * mean(r["text"] == r["solution"] for r in own)
        found[f"{decoding}, pops"] = mean(r["pops"] for r in own)
    return found


def states(policy, trajectories):
    """The states with a live token in which an action of the expert was taken.

    Returns float64 [N] each: the logit of ``<bkspc>`` above the logsumexp of the tokens', the surprise at the last live
    token, and 1 where the expert deleted it.
    """
    import torch

    from sequencematch import core

    found = []
    for first in range(0, len(trajectories), CHUNK):
        rows = [(trajectory,) for trajectory in trajectories[first : first + CHUNK]]
        inputs, (index,) = core.state_tree(rows, policy.bkspc)
        with torch.no_grad():
            hidden = policy.encode(inputs)
            for b, (trajectory,) in enumerate(rows):
                state, actions = index.state[b], trajectory.actions
                logits = policy.preferences(hidden[b, state[: len(actions)]]).double()
                at_prompt = index.at_prompt(policy.bkspc)[b, : len(actions)]
                logits[at_prompt, policy.bkspc] = -torch.inf
                log_pi = logits.log_softmax(-1)
                above = logits[:, policy.bkspc] - logits[:, : policy.bkspc].logsumexp(-1)
                surprise: dict[int, float] = {}  # by the node of the token
                for i, action in enumerate(actions):
                    if i and not at_prompt[i] and trajectory.imitated[i]:
                        found.append((above[i].item(), surprise[int(state[i])], float(action == policy.bkspc)))
                    if action != policy.bkspc:
                        surprise[int(state[i + 1])] = -log_pi[i, action].item()
    return torch.tensor(found, dtype=torch.float64).T


def loss(states, bias: float, weight: float) -> float:
    """The mean of -log of the probability of deleting, or of not deleting, as the expert did."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    above, surprise, deleted = states
    return binary_cross_entropy_with_logits(above + bias + weight * surprise, deleted).item()


def fit(states) -> tuple[float, float]:
    """The b and w with the least ``loss``: a logistic regression with a given offset."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    above, surprise, deleted = states
    found = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([found], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = binary_cross_entropy_with_logits(above + found[0] + found[1] * surprise, deleted)
        value.backward()
        return value

    optimiser.step(closure)
    return found[0].item(), found[1].item()


def table(measured: dict[str, list[dict[str, float]]]) -> str:
    """Mean and standard deviation over models in Markdown, a row for each method and quantity."""
    lines = ["| method | quantity | as trained | with the surprise | difference |", "| --- | --- | --- | --- | --- |"]
    for method, models in measured.items():
        for name in ("b", "w"):
            lines.append(f"| {method} | {name} | | {spread([m[name] for m in models], 2)} | |")
        for name in ("loss", *(f"{d}{what}" for d in DECODINGS for what in ("", ", pops"))):
            decoding, _, what = name.partition(", ")
            other = f"{decoding} with" + (f", {what}" if what else "")
            digits = 4 if name == "loss" else 1 if not what else 2
            before, after = ([m[key] for m in models] for key in (name, other))
            gains = [a - b for a, b in zip(after, before, strict=True)]
            cells = (spread(before, digits), spread(after, digits), spread(gains, digits))
            lines.append(f"| {method} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"


if __name__ == "__main__":
    script.run(main)
