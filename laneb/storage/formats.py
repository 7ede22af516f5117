"""The .env files and the candidate manifest, as formats.md fixes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration
from laneb.records.candidates import CandidateRow
from laneb.storage.atomic import StorageError

MANIFEST_COLUMNS = ("run_id", "seed", "mode", "chosen_ratio", "status", "log_path")


def threshold_env(record: BaselineThreshold) -> str:
    """Three export lines, for `source`."""
    prefix = f"{record.export_prefix} " if record.export_prefix else ""
    return (
        f"{prefix}{record.export_threshold_var}={record.recommended_target_threshold:.6f}\n"
        f"{prefix}LANE_B_BASELINE_MEDIAN_MIN_VAL_BPB={record.median_min_val_bpb:.6f}\n"
        f"{prefix}LANE_B_BASELINE_SUCCESSFUL_RUNS={record.successful_runs_count}\n"
    )


def calibration_env(record: Calibration) -> str:
    """`CALIB_TOKENS` and `CALIB_METRICS`, comma separated."""
    tokens = ",".join(str(value) for value in record.calib_tokens)
    metrics = ",".join(f"{value:.10g}" for value in record.calib_metrics)
    return f"CALIB_TOKENS={tokens}\nCALIB_METRICS={metrics}\n"


def manifest_csv(rows: Iterable[CandidateRow]) -> str:
    """candidate_runs.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MANIFEST_COLUMNS)
    for row in rows:
        writer.writerow([getattr(row, name) for name in MANIFEST_COLUMNS])
    return text.getvalue()


def parse_manifest(text: str, path: str) -> list[CandidateRow]:
    """The rows of a manifest.

    Raises:
        StorageError: another header, or a row that isn't one; names the line.
    """
    reader = csv.DictReader(io.StringIO(text))
    if reader.fieldnames is None or not set(MANIFEST_COLUMNS) <= set(reader.fieldnames):
        raise StorageError(f"{path}: the header must be {','.join(MANIFEST_COLUMNS)}, not {reader.fieldnames}.")
    rows = []
    for row in reader:
        try:
            rows.append(CandidateRow.model_validate({name: row[name] for name in MANIFEST_COLUMNS}))
        except ValueError as error:
            raise StorageError(f"{path} line {reader.line_num}: {error}") from None
    return rows
