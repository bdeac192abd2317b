"""How a store of connections that an earlier version of the program made becomes one of this version."""

from collections.abc import Callable

from sqlalchemy import Connection

Migration = Callable[[Connection], None]
"""Changes the tables of one version into those of the next, within a transaction that nobody else writes in.

In SQL that SQLite and Postgres both understand, and without a schema: the store's own is where names are looked up.
What `resources.store` declares is the newest version, and need not fit what stands there.
"""

MIGRATIONS: tuple[Migration, ...] = ()
"""In their order: the first makes version 2 of version 1. None is ever changed or removed once it was released."""


def version() -> int:
    """The version of the tables that this program works with."""
    return 1 + len(MIGRATIONS)


def migrate(connection: Connection, since: int) -> None:
    """Bring tables of the version `since` to this program's."""
    for migration in MIGRATIONS[since - 1 :]:
        migration(connection)
