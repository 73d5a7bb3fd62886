"""The one exception whose text is meant for the user."""


class UserError(Exception):
    """Something the user can mend: one sentence saying what is wrong, where, and what to do."""
