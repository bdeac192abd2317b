"""What runs are forked from: loaded by that process alone (`assets.forked_runs`), to have everything imported.

A service is asked to end by a signal to all its processes. This one has to outlive the runs, which are only then known
to have ended as they did; it ends with the code server.
"""

import os
import signal

import dagster._cli
import dagster._grpc.server  # noqa: F401

import pipelines.loading
import pipelines.warehouse.into_duckdb
import pipelines.warehouse.into_postgres  # noqa: F401


def _end_when_asked() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.register_at_fork(after_in_child=_end_when_asked)
