"""The base of every error that is told to a person in one line."""


class PennylaneSyncError(Exception):
    """What happened, to which company, and what to do next: shown as it is, without a traceback.

    Its text never holds a token, a client secret or a password.
    """
