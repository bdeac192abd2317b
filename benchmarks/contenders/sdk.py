"""A script with pennylane-sdk and pandas, as a user would write it: fetch everything, replace the tables.

The loops are those of the SDK's guides; it pages, keeps to the limit and retries by itself.
"""

from collections.abc import Iterable
from typing import Any

import duckdb
import pandas as pd
from pennylane_sdk import Pennylane, _client, filters
from pydantic import BaseModel

from benchmarks.contenders import Job, compete
from benchmarks.stand_in import WINDOW

Records = list[dict[str, Any]]


def synchronize(job: Job) -> None:
    if job.limit:
        _client.COMPANY_RATE_LIMIT = (job.limit, WINDOW)  # a constant to the SDK, which reads no header
    with Pennylane(job.token, base_url=f"{job.url}/api/external/v2", auto_throttle=bool(job.limit)) as client:
        customers = _records(client.customers.list(limit=100, sort="id", filter=_leaving_out("id", job)))
        _replace(job, "customers", customers)
        invoices = _records(
            client.customer_invoices.list(limit=100, sort="id", filter=_leaving_out("customer_id", job))
        )
        _replace(job, "customer_invoices", invoices)
        if job.lists_only:
            return
        contacts: Records = []
        for customer in customers:
            contacts += _records(client.customers.list_contacts(customer["id"], limit=100), customer_id=customer["id"])
        _replace(job, "contacts", contacts)
        payments: Records = []
        transactions: Records = []
        for invoice in invoices:
            number = invoice["id"]
            payments += _records(client.customer_invoices.list_payments(number, limit=100), invoice_id=number)
            transactions += _records(
                client.customer_invoices.list_matched_transactions(number, limit=100), invoice_id=number
            )
        _replace(job, "payments", payments)
        _replace(job, "matched_transactions", transactions)


def _leaving_out(field: str, job: Job) -> filters.Filter | None:
    return filters.not_in(field, [*job.excluded]) if job.excluded else None


def _records(models: Iterable[BaseModel], **more: int) -> Records:
    return [model.model_dump() | more for model in models]


def _replace(job: Job, table: str, records: Records) -> None:
    frame = pd.json_normalize(records, sep="_")
    if frame.empty:
        return
    with duckdb.connect(job.database) as database:
        database.register("frame", frame)
        database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM frame")  # noqa: S608  # our own names


if __name__ == "__main__":
    compete(synchronize)
