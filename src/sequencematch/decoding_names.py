"""The names of decodings, which are also their keys in settings, samples and tables. Free of torch: configurations
are checked by it.

``sampled`` (temperature 1, the paper's) and ``greedy``; ``temperature``, ``top_p``, ``min_p``, ``rejection`` and
``bkspc_bias`` with a value, as in ``top_p=0.95``; ``bkspc_masked`` (``<bkspc>`` ruled out); ``perturbed`` with the rate
at which emitted tokens are replaced by wrong ones. All but ``greedy`` draw at temperature 1 unless they name another.
"""

import math
from typing import Any

# What the plain names set of ``decoding.Decoding``.
PLAIN = {"sampled": {}, "greedy": {"temperature": 0.0}, "bkspc_masked": {"bkspc_bias": -math.inf}}
# The bounds, both excluded, of what the other names take.
VALUED = {
    "temperature": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "rejection": (0, 1),
    "bkspc_bias": (-math.inf, math.inf),
    "perturbed": (0, 1),
}


def decoding_options(name: str) -> dict[str, Any]:
    """What a decoding's name sets: numbers for fields of ``decoding.Decoding``, or for ``perturbed``, a rate.

    Raises ValueError where the name is none.
    """
    if name in PLAIN:
        return dict(PLAIN[name])
    kind, _, written = name.partition("=")
    if kind not in VALUED:
        known = ", ".join([*PLAIN, *(f"{valued}=X" for valued in VALUED)])
        raise ValueError(f"'{name}' is no decoding; known are: {known}")
    low, high = VALUED[kind]
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not low < value < high:
        bounds = {"bkspc_bias": "", "temperature": " above 0"}.get(kind, f" above {low} and below {high}")
        raise ValueError(f"'{name}' is no decoding: {kind}= takes a number{bounds}")
    if name != (canonical := f"{kind}={value:g}"):
        raise ValueError(f"'{name}' must be written '{canonical}': a decoding has one name in all tables")
    return {kind: value}


def concerns_backspace(name: str) -> bool:
    """Whether a decoding differs from ``sampled`` in ``<bkspc>`` alone."""
    return "bkspc_bias" in decoding_options(name)
