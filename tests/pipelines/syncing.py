"""A sync in a process of its own, to be killed: tells its progress line by line.

Arguments: the sandbox's address, token, company id, the warehouse's address, the working folder, `full` or `any`.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from pipelines import details, pieces
from pipelines.client import OneToken, Pennylane
from pipelines.details import DetailsSync, Share
from pipelines.landing import Landing
from pipelines.lists import ListsSync
from pipelines.progress import Progress
from pipelines.warehouse import warehouse_at

PIECE = 40
"""Rows, or accounts and invoices whose details were read, that are landed together."""


def _tell(progress: Progress) -> None:
    print(progress.step, progress.done, flush=True)  # noqa: T201


def _now() -> datetime:
    return datetime.now(UTC)


def main(arguments: list[str]) -> None:
    url, token, company_id, warehouse_url, work_dir, how = arguments
    for module in (pieces, details):
        vars(module)["PIECE_ROWS"] = PIECE
    pennylane = Pennylane(url, OneToken(token))
    with Landing.opened(warehouse_at(warehouse_url), int(company_id), Path(work_dir)) as opened:
        _tell(Progress("opened", 0))
        ListsSync(pennylane, opened, frozenset(), _now, _tell).run(full=how == "full")
        DetailsSync(pennylane, opened, _now, _tell).run(Share(0, 3600.0))


if __name__ == "__main__":
    main(sys.argv[1:])
