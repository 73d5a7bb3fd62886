"""A question about a path-star graph, such as ``5:52|43|51|2G|3X|14=``, and its arms."""

import re

from sequencematch.errors import UserError

GOAL, DEAD_END = "G", "X"
QUESTION = re.compile(r".:(..\|)+..=")


def read_arms(prompt: str) -> dict[str, str]:
    """The nodes of each arm of a question, and its mark. Raises UserError if it is no question about a graph."""
    if not QUESTION.fullmatch(prompt):
        raise UserError(f"{prompt[:40]!r} is no question about a graph, such as '5:52|51|2G|1X='")
    start, edges = prompt.rstrip("=").split(":")
    after: dict[str, list[str]] = {}
    for edge in edges.split("|"):
        after.setdefault(edge[0], []).append(edge[1])
    arms = {}
    for node in after[start]:
        arm = node
        while arm[-1] in after:
            arm += after[arm[-1]][0]
        arms[arm[:-1]] = arm[-1]
    return arms
