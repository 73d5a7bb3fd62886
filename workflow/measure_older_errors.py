"""How well is a wrong answer seen, after further tokens, by a learned deletion and by likelihoods?

``measure_older_errors.py TASK_FOLDER MLE_RUN BC_RUN``: AUC of wrong answers, whose first wrong token is followed by
another one at least, against right ones. Answers are MLE's own, sampled. Scores: the highest P(<bkspc>) of BC after the
first action, and of MLE the answer's negative log-likelihood and that of its least likely token.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from sequencematch.core import Trajectory
from sequencematch.data.examples import load_examples
from sequencematch.model.build import load_policy


def main() -> None:
    task, mle, bc = map(Path, sys.argv[1:])
    examples = load_examples(task / "examples")[0]["test"]
    rows = [json.loads(line) for line in (mle / "samples.jsonl").open()]
    answers = [
        (examples[row["example"]], row["actions"]) for row in rows if row["decoding"] == "sampled" and row["finished"]
    ]
    wrong = [first_wrong(example.completion, actions) for example, actions in answers]
    right = [k for k, place in enumerate(wrong) if place is None]
    older = [k for k, place in enumerate(wrong) if place is not None and place <= len(answers[k][1]) - 3]
    taken, _ = measured(mle, answers, backspace=False)
    _, deleted = measured(bc, answers, backspace=True)
    scores = {
        "P(<bkspc>) of BC": [max(values[1:], default=0.0) for values in deleted],
        "likelihood of the answer": [-sum(values) for values in taken],
        "least likely token": [-min(values) for values in taken],
    }
    print(f"{len(right)} right answers, {len(older)} wrong ones with an older error")
    for name, score in scores.items():
        print(f"{name}: {auc([score[k] for k in older], [score[k] for k in right]):.3f}")


def first_wrong(reference: Sequence[int], actions: Sequence[int]) -> int | None:
    """The place of the first action that is not the reference's; None for a right answer."""
    differing = (k for k, (a, b) in enumerate(zip(actions, reference, strict=False)) if a != b)
    return next(differing, None if len(actions) == len(reference) else min(len(actions), len(reference)) - 1)


@torch.no_grad()
def measured(run: Path, answers: Sequence, backspace: bool) -> tuple[list, list]:
    """Of each answer: the log-probabilities of its actions, and P(deletion) in the states before them."""
    policy, _ = load_policy(run / "model", backspace)
    policy.eval()
    taken, deleted = [], []
    for example, actions in answers:
        trajectory = Trajectory(prompt=example.prompt, actions=actions, imitated=[True] * len(actions))
        inputs, (index,) = policy.tree([(trajectory,)])
        hidden = policy.encode(inputs)[0, index.state[0]]
        log_p = policy.preferences(hidden).float().log_softmax(-1)[: len(actions)]
        taken.append(log_p[torch.arange(len(actions)), torch.tensor(actions)].tolist())
        deleted.append(log_p[:, policy.bkspc :].exp().sum(-1).tolist())
    return taken, deleted


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a positive's score is above a negative's."""
    over = torch.tensor(positive)[:, None] - torch.tensor(negative)[None]
    return float((over > 0).float().mean() + (over == 0).float().mean() / 2)


if __name__ == "__main__":
    main()
