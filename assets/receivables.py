"""The assets: excluded accounts filter the lists, the lists lead to the details, and views are made of them.

Each step is a thin wrapper: it takes the company's lease, calls the pipeline, and tells Dagster what happened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import dagster as dg

from assets.metadata import set_aside_metadata, table_spec, tally_metadata, traffic_metadata, view_spec
from assets.partitions import company_of, connections
from assets.run_lease import RunLease, owner
from assets.run_log import RunLog
from pipelines.companies import publish_company
from pipelines.details import DetailsSync, Share
from pipelines.errors import naming
from pipelines.exclusions import publish
from pipelines.lists import ListsSync
from pipelines.pace import REQUESTS_PER_SECOND
from pipelines.tables import (
    ACCOUNTS,
    COMPANIES,
    CONTACTS,
    CREDIT_NOTES,
    EXCLUDED_ACCOUNTS,
    INVOICES,
    PAYMENTS,
    Table,
)
from pipelines.views import ACCOUNT_BALANCES, AGED_BALANCE, OPEN_INVOICES, VIEWS, summary
from resources.installation import USER_ERRORS, Company, Installation

_LISTS = (ACCOUNTS, INVOICES, CREDIT_NOTES)
_DETAILS = (CONTACTS, PAYMENTS)

_FIRST_HISTORY_SECONDS = 300.0
_JUST_READ = timedelta(minutes=30)
_HOUR = 3600.0
_SPARED_SECONDS = 120.0
"""Kept free before the full hour, to land what is under way then; a run that has just begun may use them."""


class SyncConfig(dg.Config):
    """How to sync. `full` lists everything again and removes what Pennylane no longer has."""

    full: bool = False


class DetailsConfig(dg.Config):
    """What to read. With `changes_only` history, and reading again, are left to other runs."""

    changes_only: bool = False


@contextmanager
def _company(context: dg.AssetExecutionContext, installation: Installation, lease: RunLease) -> Iterator[Company]:
    """The run's company, worked on by this run alone; errors made for people end the run without a traceback."""
    company_id, run = company_of(context), context.run
    try:
        lease.hold(installation, company_id, run)
        with installation.company(company_id, owner(run.run_id), run.job_name) as company:
            yield company
    except USER_ERRORS as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _published(installation: Installation, company: Company, lease: RunLease) -> frozenset[int]:
    """The accounts left out, published by the run's first step, whichever that is; they hold for all of it."""
    if lease.excluded is None:
        excluded = installation.connections.excluded(company.id)
        publish(company.landing, excluded, installation.clock)
        lease.excluded = frozenset(excluded)
    return lease.excluded


def _results(
    tables: tuple[Table, ...], company: Company, more: dict[str, object]
) -> Iterator[dg.MaterializeResult[None]]:
    for table in tables:
        metadata = tally_metadata(company.landing.tally[table]) | set_aside_metadata(table, company.landing.state)
        metadata |= traffic_metadata(company.pennylane) | more
        yield dg.MaterializeResult(asset_key=table.name, metadata=metadata)


@dg.multi_asset(
    name="publish_connection",
    specs=[table_spec(table, deps=[], kinds={"dlt"}) for table in (COMPANIES, EXCLUDED_ACCOUNTS)],
    partitions_def=connections,
)
def connection(
    context: dg.AssetExecutionContext,
    installation: dg.ResourceParam[Installation],
    run_lease: dg.ResourceParam[RunLease],
) -> Iterator[dg.MaterializeResult[None]]:
    """Publishes which accounts are left out; what is published when a run starts holds for all of it."""
    with _company(context, installation, run_lease) as company:
        publish_company(company.landing, company.connection.company_name, None, installation.clock)
        excluded = _published(installation, company, run_lease)
    yield dg.MaterializeResult(asset_key=COMPANIES.name)
    yield dg.MaterializeResult(asset_key=EXCLUDED_ACCOUNTS.name, metadata={"excluded_accounts": len(excluded)})


@dg.multi_asset(
    name="sync_lists",
    specs=[table_spec(table, deps=[EXCLUDED_ACCOUNTS.name], kinds={"dlt"}) for table in _LISTS],
    partitions_def=connections,
)
def lists(
    context: dg.AssetExecutionContext,
    installation: dg.ResourceParam[Installation],
    run_lease: dg.ResourceParam[RunLease],
    config: SyncConfig,
) -> Iterator[dg.MaterializeResult[None]]:
    """Lists everything the first time and after a gap of over four weeks, else follows the change feeds."""
    watch = RunLog(context.log, installation.watch)
    with _company(context, installation, run_lease) as company:
        installation.connections.activate(company.id)
        excluded = _published(installation, company, run_lease)
        sync = ListsSync(company.pennylane, company.landing, excluded, installation.clock, watch)
        report = sync.run(full=config.full)
        _warn(context, report.unreadable)
        cursors = {f"cursor {path}": dg.TimestampMetadataValue(at.timestamp()) for path, at in report.cursors.items()}
        yield from _results(_LISTS, company, {"mode": report.mode, **cursors})


@dg.multi_asset(
    name="sync_details",
    specs=[
        table_spec(CONTACTS, deps=[ACCOUNTS.name], kinds={"dlt"}),
        table_spec(PAYMENTS, deps=[INVOICES.name], kinds={"dlt"}),
    ],
    partitions_def=connections,
)
def details(
    context: dg.AssetExecutionContext,
    installation: dg.ResourceParam[Installation],
    run_lease: dg.ResourceParam[RunLease],
    config: DetailsConfig,
) -> Iterator[dg.MaterializeResult[None]]:
    """Reads contacts and payments, one call per account or invoice: what changed, then the rest in rotation."""
    watch = RunLog(context.log, installation.watch)
    with _company(context, installation, run_lease) as company:
        _published(installation, company, run_lease)
        sync = DetailsSync(company.pennylane, company.landing, installation.clock, watch)

        def ready() -> None:
            installation.connections.record_ready(company.id)
            context.log.info("Ready: all that is needed for follow-up is in.")

        share = Share(0, 0.0) if config.changes_only else _share(installation, company)
        report = sync.run(share, ready)
        _warn(context, report.unreadable)
        installation.connections.record_success(company.id, installation.clock(), ready=report.pending.ready)
        pending = {
            CONTACTS: {"accounts_read": report.contacts_of, "accounts_still_to_be_read": report.pending.contacts},
            PAYMENTS: {"invoices_read": report.payments_of, "invoices_still_to_be_read": report.pending.payments},
        }
        whole = {"ready": report.pending.ready, "requests_still_to_be_made": report.pending.requests}
        for table in _DETAILS:
            yield from _results((table,), company, {**pending[table], **whole})


def _share(installation: Installation, company: Company) -> Share:
    """What the run may spend on history and on reading again.

    A first sync spends at least as long as people wait for it, and goes on where another one was stopped before.
    It ends before the next hourly run is due, which would be left out while this one goes on; unless it has just begun,
    when changes have just been read. A first sync may have gone beyond a full hour when it comes to that.
    """
    began = installation.clock()
    requests = installation.settings.pennylane_sync_detail_requests
    seconds = requests / REQUESTS_PER_SECOND
    is_first = not company.connection.last_sync_at
    if is_first:
        seconds = max(seconds, _FIRST_HISTORY_SECONDS)

    def longest() -> float:
        now = installation.clock()
        until_the_hour = _HOUR - now.timestamp() % _HOUR
        return max(until_the_hour - _SPARED_SECONDS, _SPARED_SECONDS - (now - began).total_seconds(), 0.0)

    return Share(requests, seconds, longest, again_after=_JUST_READ if is_first else timedelta())


def _warn(context: dg.AssetExecutionContext, unreadable: list[str]) -> None:
    for reason in unreadable:
        context.log.warning(f"Set aside, since it cannot be read; each sync tries again: {reason}")


@dg.multi_asset(
    name="read_views",
    specs=[
        view_spec(
            OPEN_INVOICES, deps=[INVOICES.name, PAYMENTS.name, ACCOUNTS.name, EXCLUDED_ACCOUNTS.name, COMPANIES.name]
        ),
        view_spec(ACCOUNT_BALANCES, deps=[OPEN_INVOICES.name, ACCOUNTS.name]),
        view_spec(AGED_BALANCE, deps=[OPEN_INVOICES.name]),
    ],
    partitions_def=connections,
)
def views(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.MaterializeResult[None]]:
    """The views are worked out whenever they are read; here their totals for the company are noted."""
    try:
        with naming(company_of(context)), installation.warehouse.session() as session:
            totals = [(view, summary(session, view, company_of(context))) for view in VIEWS]
    except USER_ERRORS as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
    for view, metadata in totals:
        yield dg.MaterializeResult(asset_key=view.name, metadata=metadata)
