"""The one error class that reaches a person as a sentence instead of a traceback."""


class UserError(ValueError):
    """Something the user can mend: says where, what was expected, what came, and what to do."""
