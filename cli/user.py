"""Who is at the keyboard, for the record of who excluded what."""

import getpass
import os


def user_name() -> str:
    """The user's name; where the system knows none (a container's bare number), that number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
