"""The one exception that users are meant to read."""


class InputError(ValueError):
    """Something the user supplied is wrong.

    The message is one clear sentence: which file, key or value, what is wrong with it, and what
    would be right. Scripts and the command line print it without a traceback.
    """
