"""One sentence about a file of ours whose content is not as it was written.

Digests tell where a file was changed (``store.files``), so no reader checks the fields of our files one by one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.store.files import reason


@contextmanager
def sound(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Raises UserError where a block finds that ``path`` does not hold ``what`` it should, such as 'samples'."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' holds no {what} ({reason(error)}): delete it and {remedy}") from error
