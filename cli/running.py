"""Running a Dagster job in this process, for one company, with progress on the terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import dagster as dg
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from assets import definitions
from cli.instance import open_instance, register
from cli.output import stderr
from pipelines.progress import Progress, Watch
from resources.installation import Installation

_SAID = {"lists": "Accounts, invoices, credit notes", "changes": "Changes", "details": "Contacts, payments"}

Metadata = dict[str, dict[str, Any]]
"""By asset, what its materialization says."""


def run_job(job_name: str, company_id: int, *, quiet: bool) -> Metadata:
    """Run a job for one company. The run shows in Dagster's UI like any other.

    Raises click.ClickException with what the failed step said.
    """
    with _progress_bar(quiet=quiet) as watch:
        installation = Installation(watch)
        register(installation.settings, company_id)
        job = definitions(installation).resolve_job_def(job_name)
        with open_instance(installation.settings) as instance, _quiet_logs():
            result = job.execute_in_process(
                instance=instance,
                partition_key=str(company_id),
                raise_on_error="--debug" in sys.argv,
                tags={"started_by": "command line"},
            )
    if not result.success:
        raise click.ClickException(_what_failed(result))
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.all_events
        if event.is_step_materialization and event.asset_key
    }


def _what_failed(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_node_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            if data.error:
                return f"The run failed ({data.error.cls_name}); its log tells more: pennylane-sync start"
    return "The run failed; its log tells more: pennylane-sync start"


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dagster's log belongs to the run, where the UI shows it, not to the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _progress_bar(*, quiet: bool) -> Iterator[Watch]:
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=stderr, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def watch(progress: Progress) -> None:
            if progress.step not in tasks:
                tasks[progress.step] = bar.add_task(_SAID.get(progress.step, progress.step), total=progress.total)
            bar.update(tasks[progress.step], completed=progress.done, total=progress.total)

        yield watch
