"""Places in a sync at which a process may die, by name. The program knows nothing of them: its methods are wrapped."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest import mock

from dlt.destinations.job_client_impl import SqlJobClientBase, SqlLoadJob
from dlt.destinations.sql_client import SqlClientBase
from dlt.pipeline.pipeline import Pipeline

from pipelines.client import Pennylane
from pipelines.landing import Landing
from pipelines.warehouse import Session, into_duckdb, into_postgres
from resources.connections import TokenSlot
from resources.oauth_session import PennylaneOAuth
from resources.tokens import TokenSource


@dataclass(frozen=True)
class Place:
    """Just before or just after a call of a method, or within it, when half of what it was given is done.

    Of methods that run SQL, only where the statement begins so.
    """

    of: type[Any]
    method: str
    when: Literal["before", "within", "after"]
    statement: str = ""


PLACES: dict[str, Place] = {
    "before a request": Place(Pennylane, "get", "before"),
    "between pages": Place(Pennylane, "get", "after"),
    "before landing": Place(Landing, "land", "before"),
    "before collecting": Place(Landing, "collect", "before"),
    "after collecting": Place(Landing, "collect", "after"),
    "before landing what is collected": Place(Landing, "land_collected", "before"),
    "after landing what was collected": Place(Landing, "land_collected", "after"),
    "before deleting": Place(Session, "execute", "before", "DELETE FROM"),
    "between deletions": Place(Session, "execute", "after", "DELETE FROM"),
    "before loading": Place(Landing, "_load", "before"),
    "after loading": Place(Landing, "_load", "after"),
    "before marking": Place(Session, "execute", "before", "UPDATE"),
    "after landing": Place(Landing, "land", "after"),
    "before a refresh": Place(PennylaneOAuth, "renew", "before"),
    "before saving a token": Place(TokenSlot, "replace", "before"),
    "before committing a token": Place(TokenSlot, "replace", "after"),
    "after saving a token": Place(TokenSource, "_obtain", "after"),
}
"""Places in what is our own."""

COSTS_THE_TOKEN = {"before saving a token", "before committing a token"}
"""Where Pennylane has used up the refresh token, and the new one is not kept yet: nobody can spare a person this."""

PLACES_IN_DLT: dict[str, Place] = {
    "after extract": Place(Pipeline, "extract", "after"),
    "after normalize": Place(Pipeline, "normalize", "after"),
    "with some tables copied (DuckDB)": Place(into_duckdb.CopyJob, "run", "after"),
    "with some tables copied (Postgres)": Place(into_postgres.CopyJob, "run", "after"),
    "before a merge": Place(SqlLoadJob, "run", "before"),
    "within a merge": Place(SqlClientBase, "execute_many", "within"),
    "after a merge": Place(SqlLoadJob, "run", "after"),
    "between load and cursor": Place(SqlJobClientBase, "complete_load", "before"),
    "just after the cursor": Place(SqlJobClientBase, "complete_load", "after"),
}
"""Places in dlt, which takes an exception for the failure of a job: here only a real death tells."""


@contextmanager
def at(place: Place, time: int, strike: Callable[[], None]) -> Iterator[None]:
    """While the block runs, `strike` is called whenever this place is come by, from the given time on."""
    original = getattr(place.of, place.method)
    counting = threading.Lock()
    came = 0

    def come_by() -> None:
        nonlocal came
        with counting:
            came += 1
            due = came >= time
        if due:
            strike()

    @functools.wraps(original)
    def wrapped(self: Any, *given: Any, **more: Any) -> Any:
        meant = not place.statement or str(given[0]).strip().startswith(place.statement)
        if meant and place.when == "before":
            come_by()
        if meant and place.when == "within":
            parts = list(given[0])
            original(self, parts[: len(parts) // 2], *given[1:], **more)
            come_by()
            return original(self, parts[len(parts) // 2 :], *given[1:], **more)
        result = original(self, *given, **more)
        if meant and place.when == "after":
            come_by()
        return result

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(place.of, place.method, wrapped))
        yield
