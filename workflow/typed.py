"""Check what was typed after ``make``, before anything is set up: ``typed.py [UNKNOWN_TARGET KNOWN_TARGET ...]``.

Without arguments it reads the variable CONFIG of the environment.
"""

import difflib
import os
import re
import shlex
import sys


def main() -> None:
    problem = unknown_target(*sys.argv[1:]) if sys.argv[1:] else slip(os.environ.get("CONFIG", ""))
    if problem:
        sys.exit(f"error: {problem}")


def unknown_target(name: str, *known: str) -> str:
    """A sentence about a target that does not exist, with the one of the nearest name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"there is no target '{name}'{f'; did you mean {near[0]!r}?' if near else ''} (make help lists them)"


def slip(config: str) -> str:
    """A sentence about wrong quotes in CONFIG. Empty if the quotes are right."""
    example = "quote each change that holds blanks, as in make CONFIG=\"seeds=[7] 'objective={alpha: 0.1}'\""
    try:
        words = shlex.split(config)
    except ValueError:
        return f"CONFIG opens a quote that it does not close: {example}"
    for word in words:
        if not re.match(r"[A-Za-z_]\w*=", word):
            return f"CONFIG holds '{word}', which is no NAME=VALUE: {example}"
        if any(word.count(opening) != word.count(closing) for opening, closing in ("{}", "[]")):
            return f"CONFIG holds '{word}', in which a bracket is open: {example}"
    return ""


if __name__ == "__main__":
    main()
