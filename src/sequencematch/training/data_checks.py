"""Whether a stage can train on its data: what would otherwise show after hours, as a loss that is not finite."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from sequencematch.core import Trajectory, growth
from sequencematch.errors import UserError
from sequencematch.model.policy import Policy
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import Rollouts
from sequencematch.training.batches import Corpus


def check_data(noised: Path | str, loss: str, policy: Policy, corpora: tuple[Corpus, ...], rollouts: Rollouts) -> None:
    """Raises UserError where the examples in the folder ``noised`` do not suit the loss or the policy's context.

    corpora: of training, and of validation. A policy without ``<bkspc>`` gives deletions probability 0.
    """
    largest = max(max(t.actions, default=0) for t in _trajectories(corpora))
    if not policy.backspace and largest >= policy.bkspc:
        raise UserError(
            f"the examples in '{noised}' were noised, and the loss {loss} trains on clean ones: name those of --eta 0"
        )
    if largest >= policy.bkspc + policy.deletions:
        raise UserError(
            f"the examples in '{noised}' delete {largest - policy.bkspc + 1} tokens at once, and the model at most "
            f"{policy.deletions} (model.deletions): noise them again for this model"
        )
    longest = max((_longest_state(t, policy.inputs, policy.context) for t in _trajectories(corpora)), default=0)
    if longest > policy.context:
        raise UserError(
            f"an example in '{noised}' reaches {longest} tokens, more than the model's context of {policy.context}: "
            "leave out longer examples, or choose another model"
        )
    if LOSSES[loss].rollouts:
        prompt = max(len(trajectory.prompt) for trajectory in corpora[0].draws[0])
        if prompt + rollouts.max_actions > policy.context:
            raise UserError(
                f"rollouts.max_actions is {rollouts.max_actions}, but must be at most {policy.context - prompt}: the "
                f"model's context of {policy.context} tokens holds the longest prompt of '{noised}' ({prompt}) too"
            )


def _trajectories(corpora: tuple[Corpus, ...]) -> Iterator[Trajectory]:
    return (trajectory for corpus in corpora for draw in corpus.draws for trajectory in draw)


def _longest_state(trajectory: Trajectory, inputs: int, enough: int) -> int:
    """The longest state in tokens; if prompt + actions <= ``enough``, that sum, without counting."""
    prompt, actions = len(trajectory.prompt), trajectory.actions
    if prompt + len(actions) <= enough:
        return prompt + len(actions)
    return prompt + max(accumulate((growth(action, inputs) for action in actions), initial=0))
