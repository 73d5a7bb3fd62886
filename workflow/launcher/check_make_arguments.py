"""Check what was typed after ``make``, before anything is set up: ``check_make_arguments.py [UNKNOWN KNOWN ...]``.

With arguments it says which of the known targets an unknown one is near. Without, it reads make's variables from the
environment: make writes them into shell commands, so each must be one that the shell takes for plain words.
"""

import difflib
import os
import re
import shlex
import sys

PATH = r"[\w.+=@,:/-]+"
# What each variable may be, as a regular expression and in words.
ALLOWED = {
    "NAME": (r"[A-Za-z0-9][A-Za-z0-9_-]*", "consist of letters, digits, _ and - (it names a folder)"),
    "TARGET": (rf"{PATH}( +{PATH})*", "be names of targets or paths of results"),
    "PROFILE": (r"[\w./-]+", "name a folder in profiles/"),
    "GPUS": (r"[0-9]+", "be a number"),
}
QUOTED = r"""'[^']*'|"(?:[^"\\`]|\\.)*"|\\."""  # in backquotes a command would run, inside double quotes too


def main() -> None:
    problem = slip(os.environ)
    if sys.argv[1:]:
        name, *known = sys.argv[1:]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        problem = f"there is no target '{name}'{f'; did you mean {near[0]!r}?' if near else ''} (make help lists them)"
    if problem:
        sys.exit(f"error: {problem}")


def slip(variables) -> str:
    """A sentence about the first variable that holds what it may not. Empty if there is none."""
    for name, (pattern, words) in ALLOWED.items():
        value = variables.get(name, "")
        if value and not re.fullmatch(pattern, value):
            return f"{name} is '{value}', but must {words}"
    return wrong_quotes("CONFIG", variables.get("CONFIG", "")) or wrong_quotes("ARGS", variables.get("ARGS", ""))


def wrong_quotes(name: str, value: str) -> str:
    """A sentence about words that the shell would not take as they are. Empty if it would."""
    example = "quote each change that holds blanks, as in make CONFIG=\"seeds=[7] 'objective={alpha: 0.1}'\""
    try:
        shlex.split(value)
    except ValueError:
        return f"{name} opens a quote that it does not close: {example}"
    active = re.search(r"[;&|<>()`\n]", re.sub(QUOTED, "", value)) or re.search("\n", value)
    if active:
        return f"{name} holds {active[0]!r} outside quotes, which the shell would act on: {example}"
    return ""


if __name__ == "__main__":
    main()
