"""The table of looks at the evidence, in the DuckDB file: what of the level of false verdicts each one has spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from laneb.records.verdict import Look

if TYPE_CHECKING:
    from laneb.storage.warehouse import Warehouse

LOOKS_TABLE = "lane_b_looks"
_COLUMNS = (
    "timestamp_utc", "question", "mode", "threshold", "seeds", "pairs", "statistic", "critical", "spent", "decision",
    "runs",
)  # fmt: skip
_CREATE = (
    f"CREATE TABLE IF NOT EXISTS {LOOKS_TABLE} (experiment VARCHAR NOT NULL, position BIGINT NOT NULL, "
    "timestamp_utc VARCHAR, question VARCHAR NOT NULL, mode VARCHAR NOT NULL, threshold DOUBLE NOT NULL, "
    "seeds VARCHAR, pairs BIGINT, statistic DOUBLE, critical DOUBLE, spent DOUBLE NOT NULL, decision VARCHAR NOT NULL, "
    "runs VARCHAR NOT NULL, PRIMARY KEY (experiment, question, mode, threshold, runs))"
)


def read_looks(warehouse: Warehouse, experiment: str) -> tuple[Look, ...]:
    """The looks at an experiment so far, in order.

    Raises:
        StorageError: the file can't be read.
    """
    if not warehouse.path.exists():
        return ()
    with warehouse.connect(read_only=True) as connection:
        there = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_name = ?", [LOOKS_TABLE]
        ).fetchone()
        if not there or not there[0]:
            return ()
        rows = connection.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM {LOOKS_TABLE} WHERE experiment = ? ORDER BY position", [experiment]
        ).fetchall()
    return tuple(_look(dict(zip(_COLUMNS, row, strict=True))) for row in rows)


def record_looks(warehouse: Warehouse, experiment: str, looks: Sequence[Look]) -> None:
    """Keep looks; one at the same runs and threshold as an earlier one is that one, and stays as it was.

    Raises:
        StorageError: the file can't be written.
    """
    if not looks:
        return
    with warehouse.connect() as connection:
        connection.execute(_CREATE)
        for look in looks:
            values = look.model_dump() | {name: _listed(getattr(look, name)) for name in ("seeds", "runs")}
            connection.execute(
                f"INSERT INTO {LOOKS_TABLE} (experiment, position, {', '.join(_COLUMNS)}) "
                f"SELECT ?, coalesce(max(position), 0) + 1, {', '.join('?' * len(_COLUMNS))} FROM {LOOKS_TABLE} "
                "ON CONFLICT DO NOTHING",
                [experiment, *(values[name] for name in _COLUMNS)],
            )


def _listed(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def _look(row: dict[str, object]) -> Look:
    lists = {name: tuple(str(row[name]).split(",")) if row[name] else () for name in ("seeds", "runs")}
    return Look.model_validate(row | lists)
