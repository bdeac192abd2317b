"""The same endpoints declared for dlt's own `rest_api` source, as its documentation has it.

One resource per endpoint, the children bound to their parents; `merge` with primary keys, so that later runs update;
`parallelized` children ("Per-resource parallelization for dependent resources"), and what dlt retries by default.
"""

import json
import os
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source
from dlt.sources.rest_api.typing import EndpointResource, RESTAPIConfig

from benchmarks.contenders import Job, compete

DATASET = "pennylane"
_LISTS = ("customers", "customer_invoices")


def synchronize(job: Job) -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # no network but the sandbox
    source = rest_api_source(_declaration(job))
    if job.lists_only:
        source = source.with_resources(*_LISTS)
    pipeline = dlt.pipeline(
        pipeline_name="pennylane",
        pipelines_dir=str(Path(job.database).with_suffix(".dlt")),
        destination=dlt.destinations.duckdb(job.database),
        dataset_name=DATASET,
    )
    pipeline.run(source)


def _declaration(job: Job) -> RESTAPIConfig:
    return {
        "client": {
            "base_url": f"{job.url}/api/external/v2/",
            "auth": {"type": "bearer", "token": job.token},
            "paginator": {
                "type": "cursor",
                "cursor_path": "next_cursor",
                "cursor_param": "cursor",
                "has_more_path": "has_more",
            },
        },
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": {"params": {"limit": 100, "sort": "id"}, "data_selector": "items"},
        },
        "resources": [
            {"name": "customers", "endpoint": {"path": "customers", "params": _leaving_out("id", job)}},
            {
                "name": "customer_invoices",
                "endpoint": {"path": "customer_invoices", "params": _leaving_out("customer_id", job)},
            },
            {
                "name": "contacts",
                "endpoint": {"path": "customers/{resources.customers.id}/contacts"},
                "include_from_parent": ["id"],
                "parallelized": True,
            },
            _receipts("payments"),
            _receipts("matched_transactions"),
        ],
    }


def _receipts(name: str) -> EndpointResource:
    return {
        "name": name,
        "endpoint": {"path": f"customer_invoices/{{resources.customer_invoices.id}}/{name}"},
        "include_from_parent": ["id"],
        "primary_key": ["_customer_invoices_id", "id"],  # a transaction can settle several invoices
        "parallelized": True,
    }


def _leaving_out(field: str, job: Job) -> dict[str, Any]:
    if not job.excluded:
        return {}
    conditions = json.dumps([{"field": field, "operator": "not_in", "value": job.excluded}])
    return {"filter": conditions.replace("{", "{{").replace("}", "}}")}  # braces are placeholders to dlt


if __name__ == "__main__":
    compete(synchronize)
