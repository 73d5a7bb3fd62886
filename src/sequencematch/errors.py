"""The one exception whose text is meant for the user."""


class UserError(Exception):
    """Something the user can fix: one sentence saying what is wrong, where, and what to do."""
