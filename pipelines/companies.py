"""Publishing what is known of a company beside its rows: its name, and whether they are still kept up to date."""

from datetime import datetime

from pipelines.errors import naming
from pipelines.landing import Landing
from pipelines.progress import Clock
from pipelines.tables import COMPANIES, DATASET
from pipelines.versions import refuse_newer
from pipelines.warehouse import Warehouse


def publish_company(landing: Landing, name: str, disconnected_at: datetime | None, clock: Clock) -> None:
    """Make the company's row say this; writes only if it says something else."""
    with landing.warehouse.session() as session:
        held = session.rows(
            f"SELECT company_name, disconnected_at FROM {DATASET}.companies WHERE company_id = {landing.company_id}"
        )
    if held == [(name, disconnected_at)]:
        return
    row = {
        "company_id": landing.company_id,
        "company_name": name,
        "disconnected_at": disconnected_at,
        "synced_at": clock(),
    }
    landing.land({COMPANIES: [row]})


def mark_disconnected(warehouse: Warehouse, company_id: int, at: datetime) -> None:
    """Say beside a company's rows that they are no longer updated; the next sync, once reconnected, takes it back.

    Plain SQL: a run that is just being stopped may still have dlt's folder of the company in use.
    """
    with naming(company_id), warehouse.session() as session:
        refuse_newer(session)
        if session.has_table(COMPANIES.name):
            session.execute(f"UPDATE {DATASET}.companies SET disconnected_at = %s WHERE company_id = {company_id}", at)
