"""What can be run: the hourly sync, the first sync (a backfill in the UI), a full one, a comparison; and tidying up."""

import dagster as dg

from assets.metadata import GROUP
from assets.old_runs import delete_old_runs
from assets.partitions import connections
from assets.verification import verification

_everything = dg.AssetSelection.groups(GROUP).without_checks()

hourly_sync = dg.define_asset_job(
    "hourly_sync",
    _everything,
    description="What changed since the last sync: by the change feeds, with contacts and payments in rotation.",
)

initial_sync = dg.define_asset_job(
    "initial_sync",
    _everything,
    description="The first sync of a company, everything; from then on the hourly schedule takes it up. Interrupted, "
    "it goes on where it was.",
)

full_sync = dg.define_asset_job(
    "full_sync",
    _everything,
    config={"ops": {"sync_lists": {"config": {"full": True}}}},
    description="Lists everything anew and removes what Pennylane no longer has.",
)

verify = dg.define_asset_job(
    "verify",
    dg.AssetSelection.checks(verification),
    # Of a job without assets Dagster does not see by itself that it has partitions.
    config=dg.PartitionedConfig(connections, run_config_for_partition_key_fn=lambda _: {}),
    description="Compares accounts, invoices and credit notes with Pennylane, and writes nothing. What differs is told "
    "by the asset checks; full_sync heals it.",
)

JOBS = (hourly_sync, initial_sync, full_sync, verify, delete_old_runs)
