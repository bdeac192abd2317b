from tests.homes import left_out, program, sandbox, synced, synced_home

__all__ = ["left_out", "program", "sandbox", "synced", "synced_home"]
