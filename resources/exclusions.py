"""Which accounts are left out of which company, by whom and when: a history, of which the open rows hold now."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from resources.clock import Clock
from resources.store import Store, exclusions

_OPEN = exclusions.c.included_at.is_(None)
_AT_A_TIME = 1000
"""Ids in one statement; databases limit its parameters."""


@dataclass(frozen=True)
class Exclusion:
    """One stay of an account outside."""

    account_id: int
    excluded_at: datetime
    excluded_by: str
    included_at: datetime | None
    """None: it is still excluded."""
    included_by: str | None


class Exclusions:
    """The exclusions of all companies."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def exclude(self, company_id: int, account_ids: Iterable[int], by: str) -> list[int]:
        """Leaves accounts out; returns those that were not excluded yet, in the order given."""
        with self._store.writing(company_id) as connection:
            already = _excluded(connection, company_id)
            new = [account_id for account_id in dict.fromkeys(account_ids) if account_id not in already]
            entry = {"company_id": company_id, "excluded_at": self._clock(), "excluded_by": by}
            if new:
                connection.execute(insert(exclusions), [{**entry, "account_id": account_id} for account_id in new])
        return new

    def include(self, company_id: int, account_ids: Iterable[int], by: str) -> list[int]:
        """Ends exclusions; returns the accounts that were excluded, in the order given."""
        with self._store.writing(company_id) as connection:
            excluded = _excluded(connection, company_id)
            ended = [account_id for account_id in dict.fromkeys(account_ids) if account_id in excluded]
            now = self._clock()
            for start in range(0, len(ended), _AT_A_TIME):
                several = exclusions.c.account_id.in_(ended[start : start + _AT_A_TIME])
                connection.execute(
                    update(exclusions)
                    .where(exclusions.c.company_id == company_id, several, _OPEN)
                    .values(included_at=now, included_by=by)
                )
        return ended

    def excluded(self, company_id: int) -> dict[int, datetime]:
        """The accounts that are left out now, and since when."""
        with self._store.reading() as connection:
            return _excluded(connection, company_id)

    def history(self, company_id: int) -> list[Exclusion]:
        """All stays outside, oldest first."""
        columns = [exclusions.c[name] for name in Exclusion.__dataclass_fields__]
        query = select(*columns).where(exclusions.c.company_id == company_id).order_by(exclusions.c.id)
        with self._store.reading() as connection:
            return [Exclusion(**row._mapping) for row in connection.execute(query)]


def _excluded(connection: Connection, company_id: int) -> dict[int, datetime]:
    query = select(exclusions.c.account_id, exclusions.c.excluded_at).where(
        exclusions.c.company_id == company_id, _OPEN
    )
    return {row.account_id: row.excluded_at for row in connection.execute(query.order_by(exclusions.c.account_id))}
