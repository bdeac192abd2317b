"""Which version of the program the warehouse's tables are of, and how older ones become those of this one.

A column or a table that is new needs no migration: it is missing, which `damage` sees, makes good and fills. What
cannot be seen is noted as a version: that a column was renamed or got another type, a value read from elsewhere.
"""

from collections.abc import Callable

from pipelines.committed import forget_schema
from pipelines.errors import WarehouseUnusable
from pipelines.tables import DATASET, TABLES
from pipelines.views import VIEWS
from pipelines.warehouse import STAGING, Session

VERSION_TABLE = "_version"
_VERSION = f"{DATASET}.{VERSION_TABLE}"

Migration = Callable[[Session], None]
"""Changes the tables of one version into those of the next, in SQL that both databases understand.

Some of the tables may be missing: they are made as they are declared now. The views are away meanwhile. Where rows have
to be read from Pennylane again, `damage.read_again` says so to each company's next sync. It is called again where
somebody read what it was to change, and all that it had done is undone.
"""

MIGRATIONS: tuple[Migration, ...] = ()
"""In their order: the first makes version 2 of version 1. None is ever changed or removed once it was released."""


def version() -> int:
    """The version of the tables that this program works with."""
    return 1 + len(MIGRATIONS)


def found_version(session: Session) -> int | None:
    """Of the tables that are there; None where there are none. The first ones did not say theirs."""
    noted = _noted(session)
    if noted is not None:
        return noted
    found = session.relations(DATASET)
    return 1 if any(table.name in found for table in TABLES) else None


def refuse_newer(session: Session) -> int | None:
    """The version that was found. Raises WarehouseUnusable where it is newer than this program."""
    found = found_version(session)
    if found is not None and found > version():
        raise WarehouseUnusable(
            f"The tables in {DATASET} were made by a newer pennylane-sync (version {found}, {version()} here), and are "
            "left alone: update this installation."
        )
    return found


def refuse_other(session: Session) -> None:
    """Raises WarehouseUnusable where the tables are not of this version: what only reads cannot change them."""
    found = refuse_newer(session)
    if found is not None and found < version():
        raise WarehouseUnusable(
            f"The tables in {DATASET} are of version {found}, {version()} here. The next sync brings them to that: "
            "pennylane-sync sync"
        )


def upgrade(session: Session) -> bool:
    """Bring the tables to this version, all or nothing; whether anything was to be done to tables that were there.

    To be asked before any table is made, by one process at a time. Raises WarehouseUnusable where they are newer.
    """
    if _noted(session) == version():
        return False
    found = refuse_newer(session)
    since = version() if found is None else found

    def bring() -> None:
        if since < version():
            _migrate(session, since)
        _note(session)

    session.between_readers(bring)
    return since < version()


def _migrate(session: Session, since: int) -> None:
    for view in reversed(VIEWS):
        session.execute(f"DROP VIEW IF EXISTS {DATASET}.{view.name}")
    for schema in filter(STAGING.fullmatch, session.schemas()):
        session.empty(schema)
    for migration in MIGRATIONS[since - 1 :]:
        migration(session)
    forget_schema(session)


def _noted(session: Session) -> int | None:
    if not session.has_table(VERSION_TABLE):
        return None
    return int(session.value(f"SELECT COALESCE(max(version), 1) FROM {_VERSION}"))


def _note(session: Session) -> None:
    if DATASET not in session.schemas():
        session.execute(f"CREATE SCHEMA {DATASET}")
    session.execute(f"CREATE TABLE IF NOT EXISTS {_VERSION} (version BIGINT NOT NULL)")
    session.execute(f"DELETE FROM {_VERSION}")
    session.execute(f"INSERT INTO {_VERSION} VALUES ({version()})")
