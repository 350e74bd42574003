"""The one exception whose text is meant for the user."""


class UserError(Exception):
    """Something that the user can mend: a wrong file, column, key or value.

    The message is one sentence: what was found, where (file, row or key), what was expected and what to do. Commands print
    it without a traceback and exit non-zero.
    """
