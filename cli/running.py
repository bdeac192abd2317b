"""Running a Dagster job in this process, for one company, with progress on the terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import click
import dagster as dg

from assets import definitions
from assets.run_lease import owner
from cli.instance import open_instance, register
from cli.watching import watching
from resources.installation import Installation

Metadata = dict[str, dict[str, Any]]
"""By asset, what its materialization says."""


class Interrupted(click.ClickException):
    """Ctrl-C, or SIGTERM, while a job ran."""

    def __init__(self) -> None:
        super().__init__("Stopped. Nothing is lost: the next sync goes on from here.")


def run_job(job_name: str, company_id: int, *, quiet: bool) -> Metadata:
    """Run a job for one company. The run shows in Dagster's UI like any other.

    The company's lease is held from before the run to its end. Where another run holds it, or the company must be
    connected again first, there is no run.
    Raises LeaseHeld, NotAuthorized, Interrupted, and click.ClickException with what the failed step said.
    """
    run_id = str(uuid4())
    with watching(quiet=quiet) as watch:
        installation = Installation(watch)
        installation.authorized(company_id)
        register(installation.settings, company_id)
        job = definitions(installation).resolve_job_def(job_name)
        with (
            installation.connections.lease(company_id, owner(run_id), job_name),
            open_instance(installation.settings) as instance,
            _quiet_logs(),
            _interruption_told(),
        ):
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                partition_key=str(company_id),
                raise_on_error="debug" in click.get_current_context().meta,
                tags={"started_by": "command line"},
            )
    if not result.success:
        raise _failure(result)
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.all_events
        if event.is_step_materialization and event.asset_key
    }


def _failure(result: dg.ExecuteInProcessResult) -> click.ClickException:
    what = ""
    for event in result.all_node_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return click.ClickException(data.user_failure_data.description)
            if data.error and data.error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
                return Interrupted()
            what = f" ({data.error.cls_name})" if data.error else ""
    return click.ClickException(f"The run failed{what}; its log tells more: pennylane-sync start")


@contextmanager
def _interruption_told() -> Iterator[None]:
    """An interruption within a step is told by the run's result; this is for those in between."""
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        raise Interrupted from None


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dagster's log belongs to the run, where the UI shows it, not to the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
