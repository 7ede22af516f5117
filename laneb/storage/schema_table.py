"""The 21 columns of the lane B inference schema: their types, and rows to CSV text and back."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laneb.records.candidates import MODES
from laneb.storage.atomic import StorageError
from laneb.storage.tables import Table, TableRow, parse_table

COLUMN_TYPES: dict[str, type] = {
    "timestamp_utc": str,
    "git_commit": str,
    "run_id": str,
    "seed": int,
    "dataset_id": str,
    "target_metric_name": str,
    "target_metric_threshold": float,
    "n_scaling_params": int,
    "inferred_data_scaling_exponent": float,
    "inferred_target_tokens": float,
    "inferred_target_param_data_ratio": float,
    "confirmation_ratio": float,
    "chosen_ratio": float,
    "lane_b_decision": str,
    "time_to_target_sec_measured": float,
    "time_to_target_sec_extrapolated": float,
    "min_val_bpb": float,
    "tok_per_sec_median": float,
    "dt_median_ms": float,
    "status": str,
    "notes": str,
}
SCHEMA_COLUMNS = tuple(COLUMN_TYPES)


@dataclass(frozen=True)
class SchemaRow:
    """A row: its typed values (None where unknown) and the CSV text that it came from or is written as.

    The text is kept so that a file made elsewhere, with its own way of writing numbers, quotes and line ends, is
    exported as it was imported.
    """

    values: Mapping[str, Any]
    text: str


def row_from_values(values: Mapping[str, Any]) -> SchemaRow:
    """A row of our own; unknown or non-finite numbers become empty cells."""
    cells = {name: _clean(values.get(name)) for name in SCHEMA_COLUMNS}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        ["" if cells[name] is None else cells[name] for name in SCHEMA_COLUMNS]
    )
    return SchemaRow(cells, text.getvalue())


def parse_schema_csv(text: str, path: str) -> list[SchemaRow]:
    """The rows of a schema CSV.

    Raises:
        StorageError: the header differs (the difference is named), or a cell isn't what its column holds (the line,
            the column and the value are named).
    """
    table = parse_table(text, path, COLUMN_TYPES)
    if table.header != SCHEMA_COLUMNS:
        missing = [name for name in SCHEMA_COLUMNS if name not in table.header]
        unknown = [name for name in table.header if name not in SCHEMA_COLUMNS]
        parts = [
            *([f"missing {', '.join(missing)}"] if missing else []),
            *([f"unknown {', '.join(unknown)}"] if unknown else []),
        ]
        difference = "; ".join(parts) or "the columns are in another order"
        raise StorageError(f"{path} line 1: not the header of the lane B schema: {difference}.")
    rows = []
    for row in table.rows:
        if tuple(cell.strip() for cell in row.cells) != table.header:
            values = table.values(row, COLUMN_TYPES, row.first_line)
            _check_row(values, f"{path} line {row.first_line}")
            rows.append(SchemaRow(values, _text(row, values, table)))
    return rows


def _check_row(values: Mapping[str, Any], where: str) -> None:
    if not values["run_id"]:
        raise StorageError(f"{where}: run_id is empty.")
    if values["seed"] is None:
        raise StorageError(f"{where}: seed is empty: a whole number.")
    if values["lane_b_decision"] not in MODES:
        raise StorageError(f"{where}: lane_b_decision={values['lane_b_decision']!r}: one of {', '.join(MODES)}.")


def _text(row: TableRow, values: Mapping[str, Any], table: Table) -> str:
    """A row's own text where every reader of CSV takes it for what it is, else its cells in that form."""
    body, end = row.text.rstrip("\r\n"), "\r\n" if row.text.endswith("\r\n") else "\n"
    cells = [
        cell if kind is str or _is_number(cell) else "" if values[name] is None else repr(values[name])
        for (name, kind), cell in zip(COLUMN_TYPES.items(), row.cells, strict=True)
    ]
    same = table.separator == "," and next(csv.reader(io.StringIO(body, newline=""))) == cells
    if same and not row.text.endswith("\r"):
        return row.text
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerow(cells)
    return text.getvalue()


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def render_schema_csv(texts: list[str]) -> str:
    """A CSV of rows' texts under the header, which ends its line as the rows do."""
    end = "\r\n" if texts and texts[0].endswith("\r\n") else "\n"
    lines = [text if text.endswith(("\n", "\r")) else text + end for text in texts[:-1]]
    return ",".join(SCHEMA_COLUMNS) + end + "".join(lines) + (texts[-1] if texts else "")


def _clean(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
