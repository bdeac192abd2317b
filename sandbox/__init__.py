"""A stand-in for Pennylane's Company API v2: OAuth, lists, change feeds and rate limit, all in memory.

It is a program of its own. Whatever talks to Pennylane can be pointed at it instead: `python -m sandbox` prints how.
Inside a test, `sandbox.server.SandboxServer` runs it on a free port and gives access to the company it serves.
"""
