"""Reading Pennylane and landing it with dlt; knows nothing of Dagster."""

import os

# A company's books are nobody's business, and a machine without internet must not wait for time-outs.
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
# Its errors are told by us: its own repeat what databases say, values included.
os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
# Rows do not stay behind in the staging schema once they are merged.
os.environ.setdefault("LOAD__TRUNCATE_STAGING_DATASET", "true")
# Nor do the files of rows that were loaded.
os.environ.setdefault("LOAD__DELETE_COMPLETED_JOBS", "true")
# After each step it would write a file, which nobody reads, of what the last hundred did: a sixth of a small load.
os.environ.setdefault("ENABLE_RUNTIME_TRACE", "false")
# Files that live for a second on this machine's disk: compressing them takes longer than all the rest of their making.
os.environ.setdefault("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")
