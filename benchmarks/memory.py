"""How much memory a process took."""

from pathlib import Path


def peak_mb() -> float:
    """The most that this process held so far (Linux); `getrusage` would start from what its parent held at the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
