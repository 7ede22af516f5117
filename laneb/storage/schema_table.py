"""The 21 columns of the lane B inference schema: their types, and rows to CSV text and back."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from laneb.records.candidates import MODES
from laneb.storage.atomic import StorageError

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
    try:
        records = list(_records(text))
    except csv.Error as error:
        raise StorageError(f"{path}: no CSV: {error}.") from None
    if not records:
        raise StorageError(f"{path} is empty: it must begin with the header {','.join(SCHEMA_COLUMNS)}.")
    header = tuple(records[0][1])
    if header != SCHEMA_COLUMNS:
        missing = [name for name in SCHEMA_COLUMNS if name not in header]
        unknown = [name for name in header if name not in SCHEMA_COLUMNS]
        parts = [
            *([f"missing {', '.join(missing)}"] if missing else []),
            *([f"unknown {', '.join(unknown)}"] if unknown else []),
        ]
        difference = "; ".join(parts) or "the columns are in another order"
        raise StorageError(f"{path} line 1: not the header of the lane B schema: {difference}.")
    rows = []
    for line, cells, raw in records[1:]:
        if not cells:
            continue
        if len(cells) != len(SCHEMA_COLUMNS):
            raise StorageError(f"{path} line {line}: {len(cells)} cells, but the header has {len(SCHEMA_COLUMNS)}.")
        values = {
            name: _typed(cell, name, f"{path} line {line}") for name, cell in zip(SCHEMA_COLUMNS, cells, strict=True)
        }
        if not values["run_id"]:
            raise StorageError(f"{path} line {line}: run_id is empty.")
        if values["seed"] is None:
            raise StorageError(f"{path} line {line}: seed is empty: a whole number.")
        if values["lane_b_decision"] not in MODES:
            raise StorageError(
                f"{path} line {line}: lane_b_decision={values['lane_b_decision']!r}: one of {', '.join(MODES)}."
            )
        rows.append(SchemaRow(values, raw))
    return rows


def render_schema_csv(texts: list[str]) -> str:
    """A CSV of rows' texts under the header, which ends its line as the rows do."""
    end = "\r\n" if texts and texts[0].endswith("\r\n") else "\n"
    lines = [text if text.endswith(("\n", "\r")) else text + end for text in texts[:-1]]
    return ",".join(SCHEMA_COLUMNS) + end + "".join(lines) + (texts[-1] if texts else "")


def _records(text: str) -> Iterator[tuple[int, list[str], str]]:
    """(line number, cells, raw text with its line end) of each CSV record; a quoted cell may span lines."""
    # Only \n, \r and \r\n end lines here: str.splitlines knows more, which may stand inside a cell.
    lines = io.StringIO(text, newline="")
    read: list[str] = []

    def feed() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield line

    start = 1
    for cells in csv.reader(feed()):
        yield start, cells, "".join(read)
        start += len(read)
        read.clear()


def _typed(cell: str, name: str, where: str) -> Any:
    kind = COLUMN_TYPES[name]
    if kind is str:
        return cell
    if cell.strip() == "":
        return None
    try:
        number = float(cell)
    except ValueError:
        raise StorageError(f"{where}: {name}={cell!r}: a number, or empty for unknown.") from None
    if not math.isfinite(number):
        return None
    if kind is int:
        if number != int(number) or abs(number) > 2**53:
            raise StorageError(f"{where}: {name}={cell!r}: a whole number, or empty for unknown.")
        return int(number)
    return number


def _clean(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
