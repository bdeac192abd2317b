"""What the long tests tried and found, counted while they run; `make test-long` prints it at its end."""

from collections import Counter

tried: Counter[str] = Counter()
"""How often by what, for example `tried["kills, DuckDB: during load"] += 1`."""
