"""What a Postgres role lacks for its work, as the SQL that an administrator has to run.

Postgres would say so too, at the first statement that it refuses, and then at the next one. Asked in one query of its
catalog instead, names quoted by itself, there is one list, and nothing is done by halves before it is told.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pipelines.committed import BOOKKEEPING
from pipelines.errors import WarehouseUnusable
from pipelines.tables import DATASET, TABLES
from pipelines.versions import VERSION_TABLE
from pipelines.views import VIEWS
from pipelines.warehouse import Session


@dataclass(frozen=True)
class Wanted:
    """A schema with tables and views that a role works in: it has to be able to alter and drop them."""

    schema: str
    relations: Collection[str]


def lacking(wanted: Iterable[Wanted]) -> str:
    """The query whose rows are: role, database, statement to be run by an administrator; no rows where all is well."""
    rows = ", ".join(f"('{one.schema}', string_to_array('{','.join(sorted(one.relations))}', ','))" for one in wanted)
    return f"""
        WITH wanted (name, relations) AS (VALUES {rows}),
        me AS (SELECT quote_ident(current_user) AS role, quote_ident(current_database()) AS database),
        found AS (
            SELECT n.oid, quote_ident(name) AS name, relations FROM wanted JOIN pg_namespace n ON nspname = name
        ),
        statements (rank, statement) AS (
            SELECT 1, 'GRANT CREATE ON DATABASE ' || database || ' TO ' || role FROM me
            WHERE NOT has_database_privilege(current_database(), 'CREATE')
            AND EXISTS (SELECT 1 FROM wanted WHERE name NOT IN (SELECT nspname FROM pg_namespace))
            UNION ALL
            SELECT 2, 'GRANT USAGE, CREATE ON SCHEMA ' || name || ' TO ' || role FROM me, found f
            WHERE NOT has_schema_privilege(f.oid, 'USAGE') OR NOT has_schema_privilege(f.oid, 'CREATE')
            UNION ALL
            SELECT 3, 'ALTER TABLE ' || name || '.' || quote_ident(relname) || ' OWNER TO ' || role
            FROM me, found f JOIN pg_class ON relnamespace = f.oid AND relname = ANY (relations)
            WHERE NOT pg_has_role(relowner, 'USAGE')
        )
        SELECT role, database, statement FROM me, statements ORDER BY rank, statement
    """


def told(found: Sequence[Sequence[str]]) -> str:
    """What `lacking` found, in words."""
    role, database, _ = found[0]
    statements = "; ".join(statement for *_, statement in found)
    return (
        f"the role {role} lacks rights in the database {database}. An administrator has to run there: {statements}; "
        "(docs/postgres.md says what each is for, and what would do instead)"
    )


def refuse_lacking(session: Session, staging: str) -> None:
    """Raises WarehouseUnusable, with the SQL to be run, where the role may not do all that a sync does."""
    if not session.is_postgres:
        return
    names = {*(table.name for table in TABLES), *BOOKKEEPING}
    ours = {*names, VERSION_TABLE, *(view.name for view in VIEWS)}
    if rows := session.rows(lacking([Wanted(DATASET, ours), Wanted(staging, names)])):
        raise WarehouseUnusable(f"Postgres: {told(rows)}.")
