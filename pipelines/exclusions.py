"""Publishing the exclusions: the filter that everything else applies, as it stands when a sync starts."""

from collections.abc import Mapping
from datetime import datetime

from pipelines.landing import Landing
from pipelines.progress import Clock
from pipelines.records import Row
from pipelines.tables import DATASET, EXCLUDED_ACCOUNTS


def published(landing: Landing) -> frozenset[int]:
    """The accounts left out, as published in the warehouse."""
    with landing.warehouse.session() as session:
        rows = session.rows(
            f"SELECT account_id FROM {DATASET}.excluded_accounts WHERE company_id = {landing.company_id}"
        )
    return frozenset(int(account_id) for (account_id,) in rows)


def publish(landing: Landing, excluded: Mapping[int, datetime], clock: Clock) -> None:
    """Make the published exclusions these, accounts with the time since when; writes only if they differ."""
    with landing.warehouse.session() as session:
        held = session.rows(
            f"SELECT account_id, excluded_at FROM {DATASET}.excluded_accounts WHERE company_id = {landing.company_id}"
        )
    if dict(held) == dict(excluded):
        return
    now = clock()
    rows: list[Row] = [
        {"company_id": landing.company_id, "account_id": account_id, "excluded_at": since, "synced_at": now}
        for account_id, since in sorted(excluded.items())
    ]
    landing.land({EXCLUDED_ACCOUNTS: rows}, replaced={EXCLUDED_ACCOUNTS: [landing.company_id]})
