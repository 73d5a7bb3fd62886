"""Rules that delete, tried on models without ``<bkspc>``: ours and those that other packages offer, on validation data.

A rule looks at the tokens written so far and says how many of the last ones to delete; the model then goes on by
sampling at temperature 1. Each rule is measured with nothing disturbed, and with written tokens replaced by random ones
at rate 0.1. For example:

    python workflow/try_rules.py --results results/default --task mul --output rules
"""

from collections.abc import Callable
from pathlib import Path
from statistics import mean

from trials import keep, score, spread

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store.provenance import identity

# Of the live tokens after the prompt: token, p (its probability when it was written), largest (that of the likeliest
# token there), entropy (of the distribution there, in nats). A rule returns how many of the last to delete.
Live = list[tuple[int, float, float, float]]
Rule = Callable[[Live], int]
RATE = 0.1


def ratio(x: float, deleted: int = 1) -> Rule:
    """``takeback_ratio``, which may delete the tokens before, too."""
    return lambda live: deleted if live[-1][1] < x * live[-1][2] else 0


def probability(x: float) -> Rule:
    return lambda live: live[-1][1] < x


def margin(x: float) -> Rule:
    return lambda live: live[-1][2] - live[-1][1] > x


def entropy(x: float) -> Rule:
    return lambda live: live[-1][3] > x


def drop(x: float) -> Rule:
    """Against the mean probability of the tokens before."""
    return lambda live: len(live) > 1 and live[-1][1] < x * mean(p for _, p, _, _ in live[:-1])


def repetition(n: int) -> Rule:
    """The same token n times in a row."""
    return lambda live: len(live) >= n and len({token for token, *_ in live[-n:]}) == 1


def overlap(n: int) -> Rule:
    """The last n tokens stood there before."""

    def rule(live):
        tokens = [token for token, *_ in live]
        return any(tokens[i : i + n] == tokens[-n:] for i in range(len(tokens) - n))

    return rule


RULES: dict[str, Rule] = {
    "none": lambda live: 0,
    **{f"ratio {x}": ratio(x) for x in (0.1, 0.3, 0.5)},
    **{f"probability {x}": probability(x) for x in (0.05, 0.1, 0.3)},
    **{f"margin {x}": margin(x) for x in (0.3, 0.5, 0.7)},
    **{f"entropy {x}": entropy(x) for x in (0.5, 1.0, 1.5)},
    **{f"drop {x}": drop(x) for x in (0.1, 0.3, 0.5)},
    **{f"repetition {n}": repetition(n) for n in (2, 3)},
    **{f"overlap {n}": overlap(n) for n in (2, 3)},
    **{f"ratio 0.3, {n} deleted": ratio(0.3, n) for n in (2, 3)},
}


def main() -> None:
    parser = script.parser(__doc__.split("\n\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a scale, whose MLE models are sampled")
    parser.add_argument("--task", default="mul", help="mul or translation (default: mul)")
    parser.add_argument("--examples", type=int, default=200, help="validation questions (default: 200)")
    parser.add_argument("--max-actions", type=int, default=24, help="actions of an answer (default: 24)")
    parser.add_argument("--output", type=script.output, required=True, help="folder to write")
    args = parser.parse_args()
    folder = args.results / args.task
    models = sorted(folder.glob("mle/eta=0/seed=*/model"))
    if not models:
        raise UserError(f"'{folder}' holds no models of the method mle: make the tables of its scale first")
    found: dict[str, dict[str, list[float]]] = {name: {"plain": [], "perturbed": []} for name in RULES}
    for seed, model in enumerate(models):
        for name, (plain, perturbed) in measure(folder, model, seed, args.examples, args.max_actions).items():
            found[name]["plain"].append(plain)
            found[name]["perturbed"].append(perturbed)
    keep(args.output, found, table(found), models=[identity(model) for model in models], task=args.task)


def measure(folder: Path, model: Path, seed: int, count: int, max_actions: int) -> dict[str, tuple[float, float]]:
    """The score of each rule, with nothing disturbed and perturbed."""
    from sequencematch.data.examples import load_examples
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.model.build import load_policy

    tokenizer = load_tokenizer(folder / "tokenizer")
    policy, _ = load_policy(model)
    splits, facts = load_examples(folder / "examples")
    examples = splits["validation"][:count]

    def points(rule: Rule, rate: float) -> float:
        texts = [tokenizer.decode(live) for live in sampled(policy, examples, rule, rate, seed, max_actions, tokenizer)]
        return score(facts["family"], texts, [example.text for example in examples])

    return {name: (points(rule, 0.0), points(rule, RATE)) for name, rule in RULES.items()}


def sampled(policy, examples, rule: Rule, rate: float, seed: int, max_actions: int, tokenizer) -> list[list[int]]:
    """The live tokens of one answer to each example; empty where it was cut off."""
    import numpy as np
    import torch

    from sequencematch.core import Inputs
    from sequencematch.sampling.rollout import eos_ids
    from sequencematch.seeding import generator

    ends, wrong = eos_ids(policy), tokenizer.ordinary_ids
    live: list[Live] = [[] for _ in examples]
    streams = [generator("try_rules", seed, i).random((max_actions, 3)) for i in range(len(examples))]
    taken, finished = [0] * len(examples), [False] * len(examples)
    active = list(range(len(examples)))
    while active:
        sequences = [[*examples[i].prompt, *(token for token, *_ in live[i])] for i in active]
        longest = max(map(len, sequences))
        token = torch.tensor([[*s, *[0] * (longest - len(s))] for s in sequences])
        last = torch.tensor([len(s) - 1 for s in sequences])
        with torch.no_grad():
            hidden = policy.encode(Inputs(token, torch.arange(longest).expand(len(token), -1)))
            logits = policy.preferences(hidden[torch.arange(len(token)), last])[:, : policy.bkspc]
        distribution = logits.double().softmax(-1).numpy()
        for i, p in zip(active, distribution, strict=True):
            first, second, third = streams[i][taken[i]]
            written = min(int(np.searchsorted(p.cumsum(), first * p.sum(), side="right")), len(p) - 1)
            if second < rate and written not in ends:
                written = wrong[int(third * len(wrong))]
            taken[i] += 1
            if written in ends:
                finished[i] = True
                continue
            live[i].append((written, float(p[written]), float(p.max()), float(-(p * np.log(p + 1e-30)).sum())))
            deleted = min(int(rule(live[i])), len(live[i]), max_actions - taken[i])
            taken[i] += deleted
            del live[i][len(live[i]) - deleted :]
        active = [i for i in active if not finished[i] and taken[i] < max_actions]
    return [[token for token, *_ in tokens] if done else [] for tokens, done in zip(live, finished, strict=True)]


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Mean and standard deviation over models in Markdown, a row for each rule."""
    lines = ["| rule | sampled | perturbed at 0.1 |", "| --- | --- | --- |"]
    for name, scores in found.items():
        lines.append(f"| {name} | " + " | ".join(map(spread, scores.values())) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    script.run(main)
