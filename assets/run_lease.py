"""What holds for a whole run: the company's lease, so that nobody comes in between its steps, and who is left out."""

from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from resources.installation import Installation
from resources.leases import LAPSES_AFTER, RENEWED_EVERY, LeaseHeld

_DEAD_BY_THEN = (LAPSES_AFTER + RENEWED_EVERY).total_seconds()


def owner(run_id: str) -> str:
    """As whom a run holds its company's lease; the steps of a run, and the command that started it, are one owner."""
    return f"run {run_id}"


class RunLease:
    """Taken by the first step that asks, given back when the run ends.

    `excluded` are the accounts left out of this run, once a step has published them: later ones are the next run's.
    """

    def __init__(self, until_the_run_ends: ExitStack) -> None:
        self.excluded: frozenset[int] | None = None
        self._until_the_run_ends = until_the_run_ends
        self._held = False

    def hold(self, installation: Installation, company_id: int, run: dg.DagsterRun) -> None:
        """Raises LeaseHeld where another run, or a command, works on the company.

        A run that repeats one whose worker died (on another machine, perhaps) waits until that one's lease has lapsed.
        """
        if self._held:
            return
        patience = _DEAD_BY_THEN if "dagster/retry_number" in run.tags else 0
        for attempt in Retrying(
            retry=retry_if_exception_type(LeaseHeld),
            stop=stop_after_delay(patience),
            wait=wait_fixed(RENEWED_EVERY),
            reraise=True,
        ):
            with attempt:
                lease = installation.connections.lease(company_id, owner(run.run_id), run.job_name)
                self._until_the_run_ends.enter_context(lease)
        self._held = True


@dg.resource(description="Keeps the company's lease from the run's first step to its end.")
def run_lease(_: dg.InitResourceContext) -> Iterator[RunLease]:
    """Steps share it: a run is one process."""
    with ExitStack() as until_the_run_ends:
        yield RunLease(until_the_run_ends)
