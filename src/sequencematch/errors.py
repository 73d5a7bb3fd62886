"""The one exception whose text is meant for the user."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can fix: one sentence saying what is wrong, where, and what to do."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """A UserError of the block names the place first."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
