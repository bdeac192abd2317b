"""Asset checks: whether the tables equal Pennylane. Told are counts, never content."""

import warnings
from collections.abc import Iterator

import dagster as dg

from assets.metadata import traffic_metadata
from assets.partitions import connections
from assets.run_lease import owner
from assets.run_log import RunLog
from pipelines.client import Pennylane
from pipelines.tables import ACCOUNTS, CREDIT_NOTES, INVOICES, Table
from pipelines.verification import Comparison, Verified
from resources.installation import USER_ERRORS, Installation

CHECK = "equals_pennylane"
_CHECKED = (ACCOUNTS, INVOICES, CREDIT_NOTES)


def _specs() -> list[dg.AssetCheckSpec]:
    """One per table and partition. Dagster still calls these a preview; others would hold one result for all companies,
    the last one's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                CHECK,
                asset=table.name,
                description=f"Each row of `{table.name}` equals what Pennylane lists, and there is no other.",
                partitions_def=connections,
            )
            for table in _CHECKED
        ]


@dg.multi_asset_check(name="verify_tables", specs=_specs())
def verification(
    context: dg.AssetCheckExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.AssetCheckResult]:
    """Lists everything, about a request per hundred rows, and compares; writes nothing."""
    if not context.has_partition_key:
        raise dg.Failure("Choose the company: the run needs a partition.", allow_retries=False)
    company_id, run = int(context.partition_key), context.run
    try:
        log = RunLog(context.log, installation.watch)
        found, pennylane = installation.verify(company_id, owner(run.run_id), run.job_name, watch=log)
    except USER_ERRORS as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
    for table, comparison in found.tables.items():
        yield _result(table, comparison, found, pennylane)


def _result(table: Table, comparison: Comparison, found: Verified, pennylane: Pennylane) -> dg.AssetCheckResult:
    last_sync = {"last_sync": dg.TimestampMetadataValue(found.as_of.timestamp())}
    return dg.AssetCheckResult(
        asset_key=table.name,
        check_name=CHECK,
        passed=comparison.equal,
        description=None
        if comparison.equal
        else "The job full_sync heals it; which rows: pennylane-sync verify --details",
        metadata={**comparison.counts, **last_sync, **traffic_metadata(pennylane)},
    )
