"""The expert's answer to the policy's own rollouts, where a reference completion is known (DAgger)."""

from collections.abc import Sequence

from sequencematch.core import Trajectory, growth, live_tokens


def relabel(rollout: Sequence[int], reference: Trajectory, bkspc: int) -> Trajectory:
    """The rollout with the expert's answer to its first mistake, as a trajectory.

    rollout: actions after the prompt of ``reference``. The expert's completion is what ``reference`` leaves live. The
    trajectory follows the rollout as long as all live tokens are the expert's. In the first wrong state, the expert
    takes ``<bkspc>``, then the true token, and then the rest of the completion. If the rollout deletes the wrong token
    itself, the trajectory follows it further. Neither a wrong token nor the deletion of a right token is imitated. A
    wrong ``<eos>`` cannot be deleted, so the expert continues from the state before it.

    Ross, Gordon and Bagnell 2011, with ``<bkspc>`` as the expert's answer to a mistake; it is not in the paper.
    """
    expert = live_tokens(reference.prompt, reference.actions, bkspc)
    eos = expert[-1]
    actions: list[int] = []
    imitated: list[bool] = []
    right = 0  # live tokens, all of them the expert's
    wrong = False  # whether a wrong token is live after them
    for action in rollout:
        if right == len(expert) or (wrong and action < bkspc) or (action == eos != expert[right]):
            break
        if action >= bkspc:
            good = wrong and action == bkspc
            right, wrong = right + wrong + growth(action, bkspc), False
        elif action == expert[right]:
            right, good = right + 1, True
        else:
            wrong, good = True, False
        actions.append(action)
        imitated.append(good)
    rest = [bkspc] * wrong + expert[right:]
    return Trajectory(
        prompt=reference.prompt, actions=actions + rest, imitated=imitated + [True] * len(rest), ended=reference.ended
    )
