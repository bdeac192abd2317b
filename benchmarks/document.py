"""The page of the documentation: the tables, the command that made them, and what to think of them."""

from collections.abc import Sequence

from benchmarks.history import CHANGES
from benchmarks.report import Limited, Results, in_markdown

_PAGE = """\
# Benchmark

Made by `.venv/bin/python -m benchmarks --markdown docs/benchmark.md` ({machine}).
`make benchmark` writes this page, too, and prints the tables of [performance.md](performance.md).
No network is needed: Pennylane is the sandbox.

Here all contenders read everything in one run. By default this project does so for the small company only: once one is
*ready*, its history has a share of each hour, so that the middle company is *complete* with the fourth hourly run and
the large one after a day and a half ([why, and how to have it sooner](../README.md#how-long-a-first-sync-takes)).

{tables}

## Ten times as fast, and as it is

The large company would take hours. It is read under a limit ten times as high, at a tenth of the latency and a little
less, and times are multiplied by ten. What that does to the figures, the middle company shows, which is read both ways:

{check}

## What is compared

Each contender is a small program in [`benchmarks/contenders`](../benchmarks/contenders), in a process of its own that
measures itself, against the same made-up company:

- **this project**: its lists and details as the Dagster assets run them, into DuckDB.
- **dlt `rest_api`**: the same endpoints declared for dlt's own source: one resource per endpoint, contacts and
  payments bound to their parents, pages of 100, `merge` with primary keys, the parallel children and the
  retries that dlt brings.
- **`pennylane-sdk`, pandas**: the loops of the SDK's guides, which page, retry and keep to the limit by
  themselves, one request after the other (the SDK has an asynchronous client as well, which would use the cores
  better with the limit off); each table is replaced by what was fetched.

## How it stays honest

- *Time* runs from the start of the process, imports included. *Ready* means that the contacts of every account
  that owes something and the payments of every unpaid invoice are in the tables, and with ours, as `status` counts
  it, those of what was touched in the last 35 days too; a contender that loads at the end is ready then.
- *Requests, refusals and the share of the limit* are counted by the sandbox. The share is that of the windows
  between a run's first and its last; windows in which nothing was asked count as unused.
- *Under the limit*, the contenders run at the same time, the small and the middle company, too, each with a sandbox
  of its own: 25 requests in 5 seconds for real, no simulated clock. All six begin at once, on the same cores; so do
  the three of the large company.
- *Ten times as fast* is only what is waited for. What a contender computes takes as long as ever, so that it counts ten
  times: the start of a process, the rows that are written, and between one request and the next a few milliseconds,
  for which the latency is 15 ms instead of 20. `pennylane-sdk` has Pennylane's limit as a constant, which is changed.
  Who is refused is so in each window, of which there are a tenth.
- *With the limit off* the contenders run one after the other, the SDK's own throttle off, at the latency of a good
  network. The sandbox takes a part of the cores: small differences mean nothing. *Rows* are accounts, contacts,
  invoices, credit notes and payments; proformas, estimates and orders, which stand in the same list, are not counted.
- *After the first sync* {changes} changes happen at Pennylane (new, paid, deleted and changed documents,
  contacts that come and go, payments whose status changes, a deleted account), and one more account is left
  out, whose rows have to stay as they are. Then each contender runs again, the SDK's script replacing its
  tables, and its tables are compared with the sandbox's true state. An account is left out from the start; the
  other two do that by a filter of the API.
- *Share of the limit used*: of the requests that the windows between a run's first and its last would have granted.
  More than all of them cannot be had; rest_api comes to it by asking until it is refused.
- *Peak memory* is the process's own (`VmHWM`), of ours without Dagster. With it in the process, as in a run, it is some
  60 MB more, so for the small company more than the script's; but it levels off, for
  [1,000,000 invoices](performance.md#growth) at some 400 MB, and that of a script does not.
- *Credit notes* stand in the same list as invoices; the others are taken to tell them by their status or by the
  invoice that they credit; a draft that credits none has neither (the sign of its amount hints at it). Asking for
  them in a list of their own, by the filter `credit_note`, would tell them all.
- This project reads all contacts and payments in one run here, as the others do, also after the changes: a contact's
  change, or a payment's own status, raises no event. In its hourly runs it asks for what changed, and spends up to
  1,500 requests more (`PENNYLANE_SYNC_DETAIL_REQUESTS`) on history and on the others in turn: *complete* is when it
  would be if nothing but the limit held it up.
"""


def document(results: Sequence[Results], shortened: Limited, *, machine: str) -> str:
    middle = results[1]
    return _PAGE.format(
        machine=machine,
        tables="\n\n".join(one.markdown() for one in results),
        check=in_markdown(f"{middle.size.name} company", [*middle.limited.lines(), *shortened.lines()]),
        changes=CHANGES,
    )
