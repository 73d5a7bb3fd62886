"""The logit of ``<bkspc>``, trained with the surprise at the last token as an input: does it help a trained model?

This adds b + w times the surprise, -log pi of the last live token, to the logit that a finished model of BC or
SequenceMatch gives to ``<bkspc>``. b and w are fitted by maximum likelihood on the noised training data; the network is
not changed. Validation questions are then answered with and without the addition. For example:

    python workflow/try_surprise.py --results results/default --task mul --eta 0.2 --output surprise
"""

from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from trials import keep, score, spread

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store.provenance import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sequencematch.core import Trajectory
    from sequencematch.model.policy import Policy

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
    identities = [identity(model) for found in models.values() for model in found]
    keep(args.output, measured, table(measured), models=identities, task=args.task)


def measure(task: Path, model: Path, eta: str, count: int, max_actions: int) -> dict[str, tuple[float, float]]:
    """What was measured without the addition, and with it.

    Of noised validation data the loss of ``<bkspc>``; of each decoding the score in points, and deletions per answer.
    """
    from sequencematch.data.examples import load_examples
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.evaluation.completions import complete
    from sequencematch.model.build import load_policy
    from sequencematch.settings.evaluation import Evaluation
    from sequencematch.store.facts import read_facts
    from sequencematch.training.batches import load_corpora

    seed = int(model.parent.name.removeprefix("seed="))
    tokenizer = load_tokenizer(task / "tokenizer")
    policy, _ = load_policy(model)
    policy.eval()
    noised = task / f"noised/eta={eta}/seed={seed}"
    noise = read_facts(noised, "make the tables of its scale", "settings")["settings"]
    corpora = load_corpora(noised, tokenizer.special_ids["eos"])
    train, validation = (states(policy, corpus.draws[0][:FITTED_ON]) for corpus in corpora)
    bias, weight = (round(value, 3) + 0.0 for value in fit(train))
    splits, facts = load_examples(task / "examples")
    names = {name: form.format(f"bkspc_bias={bias:g}+surprise={weight:g}") for name, form in DECODINGS.items()}
    settings = Evaluation(split="validation", decodings=(*names, *names.values()), max_actions=max_actions)
    examples = splits["validation"][:count]
    records = list(complete(policy, examples, facts["family"], noise["kind"], settings, seed, tokenizer))
    losses = (loss(validation).item(), loss(validation, bias, weight).item())
    found = {"b": (0.0, bias), "w": (0.0, weight), "loss": losses}
    for name, with_surprise in names.items():
        pair = [[record for record in records if record["decoding"] == d] for d in (name, with_surprise)]
        without, added = (
            (
                score(facts["family"], [r["text"] for r in own], [r["solution"] for r in own]),
                mean(r["pops"] for r in own),
            )
            for own in pair
        )
        found[name], found[f"{name}, pops"] = zip(without, added, strict=True)
    return found


def states(policy: "Policy", trajectories: "Sequence[Trajectory]") -> "Tensor":
    """The states with a live token in which an action of the expert was taken.

    Returns float64 [3, N]: the logit of ``<bkspc>`` above the logsumexp of the tokens', the surprise at the last live
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
                at_prompt = index.live(policy.bkspc)[b, : len(actions)] == 0
                logits[at_prompt, policy.bkspc] = -torch.inf
                log_pi = logits.log_softmax(-1)
                above = logits[:, policy.bkspc] - logits[:, : policy.bkspc].logsumexp(-1)
                surprise: dict[int, float] = {}  # by the node of the token
                for i, action in enumerate(actions):
                    if not at_prompt[i] and trajectory.imitated[i]:
                        found.append((above[i].item(), surprise[int(state[i])], float(action == policy.bkspc)))
                    if action != policy.bkspc:
                        surprise[int(state[i + 1])] = -log_pi[i, action].item()
    return torch.tensor(found, dtype=torch.float64).T


def loss(states: "Tensor", b: "Tensor | float" = 0.0, w: "Tensor | float" = 0.0) -> "Tensor":
    """The mean of -log of the probability of deleting, or of not deleting, as the expert did in ``states``."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    above, surprise, deleted = states
    return binary_cross_entropy_with_logits(above + b + w * surprise, deleted)


def fit(states: "Tensor") -> tuple[float, float]:
    """The b and w with the least ``loss``: a logistic regression with a given offset."""
    import torch

    found = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([found], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = loss(states, found[0], found[1])
        value.backward()
        return value

    optimiser.step(closure)
    return found[0].item(), found[1].item()


def table(measured: dict[str, list[dict[str, tuple[float, float]]]]) -> str:
    """Mean and standard deviation over models in Markdown, a row for each method and quantity."""
    lines = ["| method | quantity | as trained | with the surprise | difference |", "| --- | --- | --- | --- | --- |"]
    for method, models in measured.items():
        for name in models[0]:
            digits = 4 if name == "loss" else 1 if name in DECODINGS else 2
            before, after = zip(*(model[name] for model in models), strict=True)
            gains = [a - b for a, b in zip(after, before, strict=True)]
            cells = (spread(values, digits) for values in (before, after, gains))
            lines.append(f"| {method} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    script.run(main)
