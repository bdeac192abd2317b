"""What can be run: the hourly sync, the first sync (a backfill in the UI), and a full one."""

import dagster as dg

from assets.metadata import GROUP

_everything = dg.AssetSelection.groups(GROUP)

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

JOBS = (hourly_sync, initial_sync, full_sync)
