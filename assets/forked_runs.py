"""Runs begin as copies of a process that has imported everything: else each hour of each company begins with imports.

Not so in Kubernetes, where each run is a pod of its own, nor on macOS, whose own libraries do not bear to be copied.
"""

import sys
from multiprocessing import forkserver, get_context

_SERVER = "dagster._grpc.server"
_FORK_SERVER = "assets.fork_server"


def fork_runs() -> None:
    """Where this process is Dagster's code server, have it fork its runs, from a process without threads beside it.

    Dagster has no setting for that: its server says `spawn` to Python's multiprocessing, in a field of its own. A
    later version may name the field otherwise; its runs would begin as slowly as before.
    """
    server = sys.modules.get(_SERVER)
    if server is None or _FORK_SERVER in sys.modules or sys.platform != "linux":
        return
    forking = get_context("forkserver")
    forking.set_forkserver_preload([_FORK_SERVER, "definitions"])
    server.DagsterApiServer._mp_ctx = property(lambda _: forking, lambda *_: None)
    forkserver.ensure_running()  # so that it has imported all when the first run comes
