"""The names of decodings, which are also their keys in settings, samples and tables.

This module does not import torch, because configurations are checked by it. A name is one of these, or several joined
by ``+`` in this order, as in ``greedy+bkspc_bias=-2``:

- ``sampled`` (temperature 1, as in the paper) or ``greedy``.
- ``temperature``, ``top_p``, ``min_p`` and ``rejection`` with a value, as in ``top_p=0.95``.
- ``bkspc_bias``, added to the logit of ``<bkspc>``; ``surprise``, by how many times the surprise at the last token its
  logit rises; ``bkspc_masked``, which rules it out.
- ``memory``: a token that was deleted is not written again after the same text.
- For any model: ``takeback``, the probability below which the last token is deleted; ``takeback_ratio``, the same as a
  share of the likeliest token's probability; ``takeback_any_ratio``, the same of every live token: deletions go back to
  the first that was below it. ``lookahead``, with ``greedy`` alone: a token is deleted if another of the likeliest few
  has a better continuation; the value is the weight of the next token's log-probability.
- ``beams``, with ``greedy`` alone: a beam search of that width, for models that cannot delete.
- ``perturbed`` with the rate at which tokens are replaced by wrong ones of the training noise's kind;
  ``perturbed_task``, ``perturbed_random`` and ``perturbed_model`` name the kind.
- ``best_of`` and ``majority`` with the number of answers drawn per question, on average.

All but ``greedy`` sample at temperature 1 unless they name another.
"""

import math
from typing import Any

# What the plain names set of ``decoding.Decoding``.
PLAIN: dict[str, dict[str, float]] = {
    "sampled": {},
    "greedy": {"temperature": 0.0},
    "bkspc_masked": {"bkspc_bias": -math.inf},
    "memory": {"memory": True},
}
# The bounds, both excluded, of what the other names take, and the least value where 0 is a bound in theory only. Beyond
# them float32 overflows.
VALUED = {
    "temperature": (0, 1e6),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "rejection": (0, 1),
    "bkspc_bias": (-1e9, 1e9),
    "surprise": (-1e9, 1e9),
    "takeback": (0, 1),
    "takeback_ratio": (0, 1),
    "takeback_any_ratio": (0, 1),
    "lookahead": (0, 1e6),
    "beams": (1, 1e6),
    "perturbed": (0, 1),
    "perturbed_task": (0, 1),
    "perturbed_random": (0, 1),
    "perturbed_model": (0, 1),
    "best_of": (1, 1e6),
    "majority": (1, 1e6),
}
KNOWN = ", ".join([*PLAIN, *(f"{name}=X" for name in VALUED)])
LEAST = {"temperature": 1e-6, "rejection": 1e-9}
ORDER = (*PLAIN, *VALUED)
# What one name may set at most once, though several names set it.
KINDS_OF_WRONG = ("perturbed", "perturbed_task", "perturbed_random", "perturbed_model")
CHOICES = ("best_of", "majority")
RULES = ("takeback", "takeback_ratio", "takeback_any_ratio", "lookahead")
SEARCHES = ("lookahead", "beams")  # with greedy alone
BACKSPACE = ("bkspc_bias", "surprise")
# The rule that deletes leaves <bkspc> alone to be drawn, and rejection works on the tokens' probabilities. A search
# reads the policy's own. Lookahead remembers by itself, and a beam is not perturbed.
RIVALS = (
    *(KINDS_OF_WRONG, CHOICES, (*RULES, "beams"), *(("rejection", rule) for rule in (*RULES, "beams"))),
    *((search, other) for search in SEARCHES for other in ("memory", "top_p", "min_p", *BACKSPACE)),
    *(("beams", other) for other in ("bkspc_masked", *KINDS_OF_WRONG, *CHOICES)),
)


def decoding_options(name: str) -> dict[str, Any]:
    """What a decoding's name sets.

    The result has numbers for fields of ``decoding.Decoding``, a rate under the name of a perturbation, and a number of
    answers under ``best_of`` or ``majority``. Raises ValueError for any other name.
    """
    options: dict[str, Any] = {}
    parts = name.split("+")
    for part in parts:
        found = _options_of(part)
        taken = [key for key in found if options.keys() & {key}.union(*(group for group in RIVALS if key in group))]
        if taken or (part == "sampled" and len(parts) > 1):
            raise ValueError(f"'{name}' is no decoding: '{part}' does not go with what is named before it")
        options |= found
    for search in options.keys() & set(SEARCHES):
        if options.get("temperature") != 0:
            raise ValueError(f"'{name}' is no decoding: {search}= goes with greedy alone, as in 'greedy+{search}=2'")
    if not float(options.get("beams", 2)).is_integer():
        raise ValueError(f"'{name}' is no decoding: beams= takes a whole number")
    ordered = "+".join(sorted(parts, key=_place))
    if name != ordered:
        raise ValueError(f"'{name}' must be written '{ordered}': a decoding has one name in all tables")
    return options


def _options_of(part: str) -> dict[str, Any]:
    """What one name, not joined with others, sets."""
    if part in PLAIN:
        return dict(PLAIN[part])
    kind, _, written = part.partition("=")
    if kind not in VALUED:
        raise ValueError(f"'{part}' is no decoding; known are: {KNOWN}; several are joined by '+'")
    low, high = VALUED[kind]
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not low < value < high:
        raise ValueError(
            f"'{part}' is no decoding: {kind}= takes a number above {_written(low)} and below {_written(high)}"
        )
    if value < LEAST.get(kind, low):
        raise ValueError(f"'{part}' is no decoding: {kind}= takes no number below {_written(LEAST[kind])}")
    if part != (canonical := f"{kind}={_written(value)}"):
        raise ValueError(f"'{part}' must be written '{canonical}': a decoding has one name in all tables")
    return {kind: value}


def _written(value: float) -> str:
    """A number of up to six digits as it is written in a decoding's name, where + joins two: 1e6, not 1e+06."""
    digits, exponent, power = f"{value:g}".partition("e")
    return digits + (f"e{int(power)}" if exponent else "")


def _place(part: str) -> int:
    kind = part.partition("=")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def combined(*names: str) -> str:
    """The decoding that combines several; ``sampled`` adds nothing. Raises ValueError if they cannot be combined."""
    parts = {part for name in names for part in name.split("+")} - {"sampled"}
    joined = "+".join(sorted(parts, key=_place)) or "sampled"
    decoding_options(joined)
    return joined


def concerns_backspace(name: str) -> bool:
    """Whether a decoding concerns ``<bkspc>``, so that it has no use for a policy without it."""
    return any(key in decoding_options(name) for key in BACKSPACE)


def without_backspace(name: str) -> str:
    """The decoding without its parts that concern ``<bkspc>``, for a policy without it."""
    return combined(*(part for part in name.split("+") if not concerns_backspace(part)))


def without_rule(name: str) -> str:
    """A decoding without its rule that deletes unlikely tokens, or its beams: ``greedy`` of ``greedy+takeback=0.3``."""
    return combined(*(part for part in name.split("+") if part.partition("=")[0] not in (*RULES, "beams")))
