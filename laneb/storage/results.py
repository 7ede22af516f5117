"""results.csv: one row per baseline run, appended to; the latest row of a seed counts."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from laneb.records.base import canonical_hash, utc_now
from laneb.records.runs import RunResult
from laneb.storage.atomic import StorageError
from laneb.storage.tables import decode_table, parse_table

if TYPE_CHECKING:
    import pandas as pd

    from laneb.places import AnyPath, Locations

COLUMN_TYPES: dict[str, type] = {
    "timestamp": str,
    "git_commit": str,
    "experiment_name": str,
    "seed": int,
    "depth": int,
    "max_seq_len": int,
    "device_batch_size": int,
    "total_batch_size": int,
    "target_param_data_ratio": float,
    "warmdown_ratio": float,
    "warmdown_shape": str,
    "target_metric_name": str,
    "target_metric_threshold": float,
    "time_to_target_sec_measured": float,
    "time_to_target_sec_extrapolated": float,
    "extrapolation_method": str,
    "tok_per_sec_median": float,
    "dt_median_ms": float,
    "wall_time_sec": float,
    "final_train_loss": float,
    "min_val_bpb": float,
    "peak_mem_mib": float,
    "status": str,
}
RESULTS_COLUMNS = tuple(COLUMN_TYPES)
STATUSES = ("ok", "failed", "failed_nan")


class ResultsError(StorageError):
    """Baseline results that can't be used: what, where, and what to do."""


def read_results(path: AnyPath) -> pd.DataFrame:
    """All rows of a results.csv, in the order of the file.

    Returns:
        A frame with the columns of `RESULTS_COLUMNS`, indexed by the line each row ends on in the file (`line`). Text
        columns hold strings, whole numbers are `Int64` (`<NA>` where unknown) and the others float64 (NaN where
        unknown or not finite).

    Raises:
        ResultsError: the file is missing or empty, its header lacks a column, or a cell is not what its column
            holds: names file, line, column and value.
    """
    try:
        content: bytes = path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(f"{path} is not there: baseline results need a results.csv.") from None
    except OSError as error:
        raise ResultsError(f"{path} can't be read: {error}.") from error
    return parse_results(decode_table(content, str(path), ResultsError), str(path))


def results_fingerprint(at: Locations) -> str | None:
    """Identity of imported results: the content of results.csv and of every log of its directory; None without it."""
    try:
        contents = {"": at.baseline_results_csv.read_bytes()}
        # Packed logs too.
        contents |= {log.name: log.read_bytes() for log in at.baseline_results_dir.glob("*.log*") if log.is_file()}
    except OSError:
        return None
    return canonical_hash({name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})


def parse_results(text: str, path: str = "results.csv") -> pd.DataFrame:
    """The rows of a results.csv's text; see `read_results`. `path` is for messages."""
    table = parse_table(text, path, COLUMN_TYPES, ResultsError)
    _check_header(list(table.header), table.separator, path)
    lines: list[int] = []
    rows: list[dict[str, Any]] = []
    for row in table.rows:
        # A script that appends may write the header each time.
        if tuple(cell.strip() for cell in row.cells) != table.header:
            rows.append(_checked_row(table.values(row, COLUMN_TYPES, row.last_line), f"{path} line {row.last_line}"))
            lines.append(row.last_line)
    return results_frame(rows, lines)


def results_frame(rows: Sequence[Mapping[str, Any]], lines: Sequence[int] | None = None) -> pd.DataFrame:
    """Rows as the typed frame that `read_results` gives; `lines` is its index (2, 3, ... by default)."""
    import pandas as pd

    dtypes = {str: "object", int: "Int64", float: "float64"}
    index = pd.Index(list(lines) if lines is not None else range(2, len(rows) + 2), name="line", dtype="int64")
    columns = {}
    for name, kind in COLUMN_TYPES.items():
        values = [_clean(row.get(name), kind) for row in rows]
        columns[name] = pd.Series(values, index=index, dtype=dtypes[kind], name=name)
    frame: pd.DataFrame = pd.DataFrame(columns, index=index)
    return frame


def latest_rows(results: pd.DataFrame) -> pd.DataFrame:
    """The row that counts of each seed, the last in the file, in order of seed."""
    latest: pd.DataFrame = results[~results["seed"].duplicated(keep="last")].sort_values("seed", kind="stable")
    return latest


def results_row(
    run: RunResult,
    *,
    experiment_name: str,
    target_param_data_ratio: float | None = None,
    target_metric_name: str = "val_bpb",
    target_metric_threshold: float | None = None,
    time_to_target_sec_measured: float | None = None,
    time_to_target_sec_extrapolated: float | None = None,
    extrapolation_method: str = "",
) -> dict[str, Any]:
    """The row of a run.

    Args:
        run: the run.
        experiment_name: whose baseline it is.
        target_param_data_ratio: the ratio as requested; None for the realised one.
        target_metric_name: metric that the threshold bounds.
        target_metric_threshold: the threshold that the run tracked [bpb]; None (-1 in the file) for none.
        time_to_target_sec_measured, time_to_target_sec_extrapolated: training time to the threshold [s].
        extrapolation_method: how the second was found.
    """
    shared = {name: getattr(run, name) for name in RESULTS_COLUMNS if hasattr(run, name)}
    ratio = run.realised_ratio if target_param_data_ratio is None else target_param_data_ratio
    row = shared | {
        "timestamp": run.timestamp_utc or utc_now(),
        "experiment_name": experiment_name,
        "target_param_data_ratio": ratio,
        "target_metric_name": target_metric_name,
        "target_metric_threshold": -1.0 if target_metric_threshold is None else target_metric_threshold,
        "time_to_target_sec_measured": time_to_target_sec_measured,
        "time_to_target_sec_extrapolated": time_to_target_sec_extrapolated,
        "extrapolation_method": extrapolation_method,
    }
    return {name: row[name] for name in RESULTS_COLUMNS}


def render_results(rows: Iterable[Mapping[str, Any]]) -> str:
    """The text of a results.csv. What is unknown or not finite is an empty cell; numbers read back as they were."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RESULTS_COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(name), kind) for name, kind in COLUMN_TYPES.items()])
    return text.getvalue()


def _check_header(header: list[str], separator: str, path: str) -> None:
    missing = [name for name in RESULTS_COLUMNS if name not in header]
    repeated = sorted({name for name in header if name in COLUMN_TYPES and header.count(name) > 1})
    if missing or repeated:
        said = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(repeated)} more than once"
        hint = " Its cells have to be separated by commas, semicolons or tabs." if len(header) == 1 else ""
        raise ResultsError(f"{path} line 1: the header {said}; it must be {','.join(RESULTS_COLUMNS)}.{hint}")


def _checked_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    if row["seed"] is None:
        raise ResultsError(f"{where}: seed is empty: each row belongs to a seed.")
    if row["status"] not in STATUSES:
        raise ResultsError(f"{where}: status={row['status']!r}: one of {', '.join(STATUSES)}.")
    return row


def _clean(value: Any, kind: type) -> Any:
    """A value as its column's type, None for what is unknown or not finite."""
    if kind is str:
        return "" if value is None or value != value else str(value)
    number = math.nan if value is None or _is_missing(value) else float(value)
    if not math.isfinite(number):
        return None
    return int(number) if kind is int else number


def _is_missing(value: Any) -> bool:
    # pandas' NA is neither equal nor unequal to anything, itself included.
    return type(value).__name__ == "NAType"


def _cell(value: Any, kind: type) -> str:
    cleaned = _clean(value, kind)
    if cleaned is None:
        return ""
    return repr(cleaned) if kind is float else str(cleaned)
