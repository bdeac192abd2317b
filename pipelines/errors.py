"""What can go wrong between us and Pennylane or the warehouse, in words that reach the user."""

import re
from collections.abc import Iterator
from contextlib import contextmanager


class PipelineError(Exception):
    """Says in one line what happened and what to do next; never holds a token or personal data."""


@contextmanager
def naming(company_id: int) -> Iterator[None]:
    """Errors that leave the block say which company they befell: who meets them does not know whose work it was."""
    try:
        yield
    except PipelineError as error:
        if not re.search(rf"\bcompany {company_id}\b", str(error), re.IGNORECASE):
            error.args = (f"Company {company_id}: {error}",)
        raise


class PennylaneUnreachable(PipelineError):
    """No usable answer after all retries; the next run goes on from here."""


class AskedForSilence(PennylaneUnreachable):
    """Pennylane asks to be left alone for longer than a run waits: nothing else is to be asked of it, either."""


class PennylaneRefused(PipelineError):
    """An answer that no retry will change (400, 404, 422...)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AuthorizationFailed(PipelineError):
    """401: the token is missing, wrong, expired or revoked, and there is no newer one."""


class MissingScope(PipelineError):
    """403: the token lacks a scope, which Pennylane's message names."""


class BrokenAnswer(PipelineError):
    """An answer with status 200 that breaks the API's own rules; reading on would lose rows in silence."""


class NotListed(PipelineError):
    """Details cannot be read before all accounts and invoices are known."""


class WarehouseBusy(PipelineError):
    """Another process has what we need: the DuckDB file, the tables while it prepares them, a company's rows."""


class WarehouseUnusable(PipelineError):
    """The warehouse cannot be opened or written."""


class WarehouseLocked(WarehouseUnusable):
    """Another program keeps what is to be written locked, in a transaction that has not ended."""


class OtherColumns(WarehouseUnusable):
    """Postgres does not replace a view by one whose columns are others."""
