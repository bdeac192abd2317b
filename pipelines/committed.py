"""What dlt has committed to the warehouse, read without dlt.

Importing dlt and opening a pipeline takes more processor time than all the rest of an hour without changes. Where the
cursors stand is in one row, in a form that is dlt's but plain: JSON, compressed, as Base64.
"""

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.errors import WarehouseUnusable
from pipelines.tables import DATASET
from pipelines.warehouse import Session

State = dict[str, Any]

SOURCE = "pennylane"
_ENGINE_VERSION = 4
_STATES = "_dlt_pipeline_state"
_VERSIONS = "_dlt_version"
_LOADS = f"{DATASET}._dlt_loads"
_STATE_COLUMNS = ("version", "engine_version", "pipeline_name", "state", "created_at", "_dlt_load_id", "_dlt_id")
_LOAD_COLUMNS = ("load_id", "schema_name", "status", "inserted_at")
BOOKKEEPING = frozenset({_STATES, _VERSIONS, "_dlt_loads"})
"""dlt's own tables. Without those of states and loads nobody knows where a company stands: all is listed again."""


def pipeline_name(company_id: int) -> str:
    return f"pennylane_{company_id}"


def committed(session: Session, company_id: int) -> State | None:
    """The source's state in the last package that was loaded, which is where dlt itself would go on from.

    None where it is written in another way than we know: dlt has to read it.
    """
    package = _last_package(session, company_id)
    if package is None:
        return {}
    pipeline = _read(package)
    return None if pipeline is None else pipeline.get("sources", {}).get(SOURCE, {})


def commit_as(here: Session, there: Session, company_id: int, change: Callable[[State], State]) -> None:
    """Commit in another warehouse, which has dlt's tables, what is committed here, as `change` says.

    Not within a package, as dlt does it, but in the transaction of the rows that it covers.
    """
    package = _last_package(here, company_id)
    if package is None:
        return
    pipeline = _read(package)
    if pipeline is None:
        raise WarehouseUnusable(
            f"Where company {company_id} stands is written as by another version of dlt. Sync it once where it is: "
            "pennylane-sync sync"
        )
    pipeline.pop("destination_type", None)  # another one there, of which dlt would warn
    pipeline["sources"] = {SOURCE: change(pipeline.get("sources", {}).get(SOURCE, {}))}
    package["state"] = base64.b64encode(zlib.compress(json.dumps(pipeline).encode())).decode()
    there.execute(f"DELETE FROM {DATASET}.{_STATES} WHERE pipeline_name = %s", pipeline_name(company_id))
    for table, names in ((f"{DATASET}.{_STATES}", _STATE_COLUMNS), (_LOADS, _LOAD_COLUMNS)):
        places = ", ".join(["%s"] * len(names))
        there.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", *(package[name] for name in names))


def _last_package(session: Session, company_id: int) -> dict[str, Any] | None:
    if not (session.has_table(_STATES) and session.has_table("_dlt_loads")):
        return None
    names = (*_STATE_COLUMNS, *_LOAD_COLUMNS)
    rows = session.rows(
        f"""
        SELECT {", ".join(names)} FROM {DATASET}.{_STATES} JOIN {_LOADS} ON load_id = _dlt_load_id
        WHERE pipeline_name = %s AND status = 0 ORDER BY load_id DESC LIMIT 1
        """,
        pipeline_name(company_id),
    )
    return dict(zip(names, rows[0], strict=True)) if rows else None


def _read(package: Mapping[str, Any]) -> dict[str, Any] | None:
    if package["engine_version"] != _ENGINE_VERSION:
        return None
    try:
        pipeline: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(package["state"], validate=True)))
    except (ValueError, zlib.error):
        return None
    return pipeline


def noted_tables(session: Session, schema: str) -> set[str]:
    """The tables that dlt notes in a schema to have made there; none where its notes are gone."""
    if not session.has_table(_VERSIONS, schema):
        return set()
    notes = session.rows(f"SELECT schema FROM {schema}.{_VERSIONS}")
    return {name for (note,) in notes for name in json.loads(note)["tables"]}


def forget_schema(session: Session) -> None:
    """Let dlt compare the tables with what is declared: it goes by what it noted when it last made something."""
    if session.has_table(_VERSIONS):
        session.execute(f"DELETE FROM {DATASET}.{_VERSIONS} WHERE schema_name = %s", SOURCE)


def forget_packages(session: Session, company_id: int) -> None:
    """Delete what dlt noted of earlier packages, for ever: it goes by a pipeline's last state that was loaded."""
    states = f"{DATASET}.{_STATES}"
    name = pipeline_name(company_id)
    session.execute(
        f"""
        DELETE FROM {states} WHERE pipeline_name = %s AND _dlt_load_id < (
            SELECT max(load_id) FROM {states} JOIN {_LOADS} ON load_id = _dlt_load_id
            WHERE pipeline_name = %s AND status = 0
        )
        """,
        name,
        name,
    )
    session.execute(f"DELETE FROM {_LOADS} WHERE load_id NOT IN (SELECT _dlt_load_id FROM {states})")
