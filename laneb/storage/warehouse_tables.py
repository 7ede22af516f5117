"""The tables of the DuckDB file: how they are laid out, brought to the current version, and added to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from laneb.records.base import canonical_hash
from laneb.storage.atomic import StorageError
from laneb.storage.schema_table import COLUMN_TYPES, SCHEMA_COLUMNS, SchemaRow, row_from_values

if TYPE_CHECKING:
    import duckdb

TABLE = "lane_b_inference_schema"
VERSION_TABLE = "lane_b_schema_version"
SCHEMA_VERSION = 1
_SQL_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE"}


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the file to the current version; a newer one is refused rather than guessed at."""
    if has_table(connection, VERSION_TABLE):
        [version] = one(connection, f"SELECT max(version) FROM {VERSION_TABLE}")
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"the DuckDB file has lane B schema version {version}, but this Lane B knows {SCHEMA_VERSION}: "
                "install a newer Lane B, or point LANE_B_DUCKDB_PATH elsewhere."
            )
        return
    with transaction(connection):
        old = has_table(connection, TABLE)
        if old:
            connection.execute(f"ALTER TABLE {TABLE} RENAME TO {TABLE}_before")
        columns = ", ".join(f"{name} {_SQL_TYPES[kind]}" for name, kind in COLUMN_TYPES.items())
        connection.execute(
            f"CREATE TABLE {TABLE} (experiment VARCHAR NOT NULL, run_fingerprint VARCHAR NOT NULL, "
            f"revision BIGINT NOT NULL, csv_text VARCHAR NOT NULL, {columns}, "
            "PRIMARY KEY (experiment, run_id, run_fingerprint))"
        )
        connection.execute(f"CREATE TABLE {VERSION_TABLE} (version INTEGER NOT NULL)")
        connection.execute(f"INSERT INTO {VERSION_TABLE} VALUES ({SCHEMA_VERSION})")
        if old:
            _take_over(connection)


def _take_over(connection: duckdb.DuckDBPyConnection) -> None:
    """Rows of a table that holds the 21 columns alone, as people's scripts made it, become rows of `before_laneb`."""
    names = ", ".join(SCHEMA_COLUMNS)
    old_rows = connection.execute(f"SELECT {names} FROM {TABLE}_before").fetchall()
    for revision, cells in enumerate(dict.fromkeys(old_rows), start=1):
        row = row_from_values(dict(zip(SCHEMA_COLUMNS, cells, strict=True)))
        insert(connection, "before_laneb", row_fingerprint(row.text), revision, row)
    connection.execute(f"DROP TABLE {TABLE}_before")


@contextlib.contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block is committed, or nothing of it."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def one(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[str] | None = None) -> tuple[int, ...]:
    """The one row of numbers that a query gives."""
    row = connection.execute(query, parameters or []).fetchone()
    assert row is not None
    return row


def insert(
    connection: duckdb.DuckDBPyConnection, experiment: str, fingerprint: str, revision: int, row: SchemaRow
) -> None:
    """Add a row, with the text that it has in the CSV."""
    names = ", ".join(("experiment", "run_fingerprint", "revision", "csv_text", *SCHEMA_COLUMNS))
    marks = ", ".join("?" * (4 + len(SCHEMA_COLUMNS)))
    cells = [row.values[name] for name in SCHEMA_COLUMNS]
    connection.execute(
        f"INSERT INTO {TABLE} ({names}) VALUES ({marks})", [experiment, fingerprint, revision, row.text, *cells]
    )


def row_fingerprint(text: str) -> str:
    """Identity of an imported row: the hash of its CSV text, line end left out."""
    return canonical_hash(text.rstrip("\r\n"))


def has_table(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether the file has a table of this name."""
    [count] = one(connection, "SELECT count(*) FROM information_schema.tables WHERE table_name = ?", [name])
    return bool(count)
