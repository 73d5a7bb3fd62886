"""Greedy decoding that looks one token ahead, and deletes what it should not have written.

Each of the likeliest few tokens x in a state s has a value: log pi(x|s) as long as it was not written, and then
log pi(x|s) + weight * max_y log pi(y|s x) over tokens y, and where the policy has a deletion head (``Policy.head``)
log(1 - b(s x)) more. The best one is written. A written token that is not the best any more is deleted, and its value
is remembered. As values only fall, the token that stays would be the best if all of the few had been written. But a
second one is only written where it may be better than the first.

Every token written costs a forward pass, whether it stays or not; what ends a sequence has no token after it, and is
never deleted. (Not in the paper.)
"""

WEIGHT = 0.75  # of the token after a candidate, where a deletion head is trained
FEW = 3  # on validation translations five gave the same BLEU


class Lookahead:
    """What is known of one trajectory's tokens: values by the number of live tokens before them."""

    def __init__(self, weight: float):
        self.weight = weight
        self.hoped: dict[int, dict[int, float]] = {}  # log pi of the likeliest few
        self.known: dict[int, dict[int, float]] = {}  # the values of those that were written, by whomever

    def arrive(self, live: int, tokens: list[int], log_policy: list[float]) -> None:
        """``live`` tokens are written; the likeliest few after them, the likeliest first."""
        self.hoped[live], self.known[live] = dict(zip(tokens, log_policy, strict=True)), {}

    def stays(self, live: int, token: int, log_policy: float) -> bool:
        """Whether the last of ``live`` tokens stays, whose log pi (and log(1 - b)) was ``log_policy``."""
        likeliest = max(self.hoped[live].values())
        value = self.known[live - 1].setdefault(token, log_policy + self.weight * likeliest)
        return value >= max((self.hoped[live - 1] | self.known[live - 1]).values())

    def best(self, live: int) -> int:
        """The token to write after ``live`` tokens."""
        values = self.hoped[live] | self.known[live]
        return max(values, key=values.__getitem__)
