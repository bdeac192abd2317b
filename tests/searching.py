"""Looking for secrets: in whatever form, in all that was written or printed."""

import base64
import contextlib
import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import duckdb
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

LENGTH = 12
"""So many characters from the beginning of a secret are as bad as the whole."""

_ZIPPED = re.compile(rb"e[AFJN][A-Za-z0-9+/]{20,}={0,2}")


def forms(secret: str) -> set[bytes]:
    """The beginning of a secret as it is, in an address, in hexadecimal digits, and in Base64 within anything."""
    plain = secret[:LENGTH].encode()
    found = {plain, quote(plain, safe="").encode(), quote(plain).encode(), plain.hex().encode()}
    found.add(plain.hex().upper().encode())
    found.add(json.dumps(secret[:LENGTH])[1:-1].encode())
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain)
        whole = encoded[(before * 8 + 5) // 6 : (before + len(plain)) * 8 // 6]
        found |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


class Search:
    """What to look for, by name."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        short = [name for name, secret in secrets.items() if len(secret) < LENGTH]
        assert not short, f"too short to be told from other text: {short}"
        self._forms = {name: forms(secret) for name, secret in secrets.items()}

    def within(self, content: bytes) -> set[str]:
        """The names of the secrets that stand in this, or in what is packed in it."""
        contents = [content, *_unpacked(content)]
        return {name for name, looks in self._forms.items() if any(look in one for look in looks for one in contents)}

    def among(self, places: Iterable[tuple[str, bytes]]) -> list[str]:
        """Each place and what was found in it."""
        return [f"{place}: {name}" for place, content in places for name in sorted(self.within(content))]


def _unpacked(content: bytes) -> Iterator[bytes]:
    if content.startswith(b"\x1f\x8b"):
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj(wbits=31).decompress(content)
    for packed in _ZIPPED.findall(content):
        with contextlib.suppress(ValueError, zlib.error):
            yield zlib.decompress(base64.b64decode(packed))


def files(folder: Path, *but: str) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, but those of these names; of SQLite and DuckDB files the rows as well."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in but:
            content = path.read_bytes()
            yield str(path), content
            if content.startswith(b"SQLite format 3\0"):
                with contextlib.closing(sqlite3.connect(path)) as database:
                    yield f"rows of {path}", "\n".join(database.iterdump()).encode()
            elif content[8:12] == b"DUCK":
                yield f"rows of {path}", duckdb_rows(path)


def duckdb_rows(file: Path) -> bytes:
    with duckdb.connect(str(file), read_only=True) as database:
        tables = database.execute(
            "SELECT database_name, schema_name, table_name FROM duckdb_tables() WHERE NOT internal"
        ).fetchall()
        rows = [
            row
            for catalog, schema, table in tables
            for (row,) in database.execute(f'SELECT one::TEXT FROM "{catalog}"."{schema}"."{table}" AS one').fetchall()
        ]
        return "\n".join(rows).encode()


def postgres_tables(address: str) -> Iterator[tuple[str, bytes]]:
    """Every row of every table of a Postgres database, as text."""
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg2:"), poolclass=NullPool)
    with engine.connect() as connection:
        tables = connection.execute(
            text(
                "SELECT table_schema, table_name FROM information_schema.tables"
                " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'"
            )
        ).all()
        for schema, table in tables:
            rows = connection.execute(text(f'SELECT one::TEXT FROM "{schema}"."{table}" AS one')).scalars()
            yield f"{schema}.{table}", "\n".join(rows).encode()
