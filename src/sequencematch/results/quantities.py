"""How each quantity of a table is written: its label, its decimals, its greatest value, and which way is better.

A quantity's name may go on: ``repair_rate[random]`` is a repair rate under one kind of corruption,
``bleu_minus_mle`` a paired difference of BLEU.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """How a quantity is written.

    top: the greatest value (None: there is none); the least is 0. lower: whether lower values are better. by_seed:
    whether a run has one number of it per decoding; tables show it with its spread wherever metrics.json has it.
    """

    label: str
    digits: int = 3
    top: float | None = None
    lower: bool = False
    by_seed: bool = False


QUANTITIES = {
    "accuracy": Quantity("accuracy", top=1),
    "bleu": Quantity("BLEU", digits=2, top=100),
    "chrf": Quantity("chrF", digits=2, top=100, by_seed=True),
    "repair_rate": Quantity("repair rate", top=1),
    "false_alarm_rate": Quantity("false-alarm rate", top=1),
    "pushes_per_sequence": Quantity("tokens written per answer", digits=2, by_seed=True),
    "pops_per_sequence": Quantity("deletions per sequence", by_seed=True),
    "deletions_per_sequence": Quantity("deleting actions per sequence", by_seed=True),  # of several tokens at once
    "wrong_pop_share": Quantity("deletions of a wrong token", top=1, by_seed=True),
    "cut_off_share": Quantity("cut off", top=1, by_seed=True),
    "taken_back": Quantity("errors ever deleted", top=1),
    "right_after_error": Quantity("answers right in the end", top=1),
    "tokens_after_error": Quantity("tokens written after the error", digits=2, lower=True),
    "perplexity": Quantity("perplexity", digits=2),
    "mauve": Quantity("MAUVE", top=1),
    "entropy": Quantity("n-gram entropy", digits=2),
    "repetition": Quantity("repetition", top=1),
    "distinct": Quantity("distinct", top=1),
    "points": Quantity("points", digits=1),  # of the map: accuracy in per cent, or BLEU
    "held_out_nll": Quantity("held-out NLL", lower=True),
    "held_out_nll_given_no_deletion": Quantity("held-out NLL given no deletion", lower=True),
}
BY_SEED = tuple(name for name, quantity in QUANTITIES.items() if quantity.by_seed)


def describe(name: str) -> Quantity:
    """The quantity that a name starts with: BLEU for ``bleu_minus_mle``."""
    return QUANTITIES[name.partition("[")[0].partition("_minus_")[0]]


def key(name: str) -> str:
    """The text in brackets: ``random`` of ``repair_rate[random]``; empty without."""
    return name.partition("[")[2].removesuffix("]")
