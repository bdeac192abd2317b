"""Comparing payments that were just read with what the warehouse holds of them and of their invoices."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.records import Row
from pipelines.tables import DATASET, Table
from pipelines.warehouse import Session, id_list

_CLOCKS_APART = timedelta(minutes=1)
"""An invoice's `synced_at` is our time, a payment's `updated_at` is Pennylane's."""


def invoices_outdated_by(
    session: Session, company_id: int, payments: Mapping[int, Collection[Row]], *, again: bool
) -> set[int]:
    """Of the invoices whose payments were read, those whose own row is older than what the payments tell.

    That is a payment which changed after the invoice was read, or, where payments were read `again` without an event
    having asked for it, any difference from those that we hold.
    """
    if not payments:
        return set()
    where = f"company_id = {company_id} AND invoice_id IN ({id_list(payments)})"
    read_at = dict(session.rows(f"SELECT invoice_id, synced_at FROM {DATASET}.invoices WHERE {where}"))
    outdated = {
        invoice_id
        for invoice_id, rows in payments.items()
        for row in rows
        if row["updated_at"] and invoice_id in read_at and _read_before(read_at[invoice_id], row["updated_at"])
    }
    if again:
        held: defaultdict[int, set[tuple[Any, ...]]] = defaultdict(set)
        for invoice_id, *what in session.rows(
            f"SELECT invoice_id, kind, payment_id, status, updated_at FROM {DATASET}.payments WHERE {where}"
        ):
            held[invoice_id].add(tuple(what))
        for invoice_id, rows in payments.items():
            if held[invoice_id] != {(row["kind"], row["payment_id"], row["status"], row["updated_at"]) for row in rows}:
                outdated.add(invoice_id)
    return outdated


def _read_before(read_at: datetime | None, changed_at: datetime) -> bool:
    """So, too, where nobody knows when it was read."""
    return read_at is None or changed_at > read_at - _CLOCKS_APART


def rows_with(session: Session, company_id: int, table: Table, keys: Collection[tuple[Any, ...]]) -> list[Row]:
    """The rows that we hold under these keys."""
    if not keys:
        return []
    columns = [column.name for column in table.columns]
    rows = session.rows(
        f"SELECT {', '.join(columns)} FROM {DATASET}.{table.name} "
        f"WHERE company_id = {company_id} AND {table.id_column} IN ({id_list(key[-1] for key in keys)})"
    )
    held = (dict(zip(columns, values, strict=True)) for values in rows)
    return [row for row in held if table.key_of(row) in keys]
