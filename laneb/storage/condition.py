"""Whether what an asset made is still there and whole. Damage is an answer here, never an error.

What is missing or damaged is not up to date: it is made again, like what was never made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from laneb.places import AnyPath
from laneb.records.base import Record, unsealed_json
from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.experiment import Experiment
from laneb.records.runs import RunResult
from laneb.records.scaling import ScalingParams
from laneb.storage.atomic import StorageError, read_text
from laneb.storage.checksums import FILES, checksum, mismatch
from laneb.storage.formats import calibration_env, threshold_env
from laneb.storage.products import PRODUCTS, baseline_role
from laneb.storage.results import latest_rows, read_results, results_frame, results_row
from laneb.storage.schema_table import SCHEMA_COLUMNS
from laneb.storage.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd

    from laneb.storage.store import Store

State = Literal["missing", "damaged", "whole"]


class Condition(NamedTuple):
    """How something that was written is found."""

    state: State
    reason: str = ""
    """What is missing or damaged: the file and how; a sentence without its end."""

    @property
    def whole(self) -> bool:
        """There, and what was written."""
        return self.state == "whole"


WHOLE = Condition("whole")
_DUCKDB_HEADER = 3 * 4096
"""Bytes that each DuckDB file begins with."""


def condition_of(store: Store, asset: str, partition: str | None = None) -> Condition:
    """How everything that an asset, or one partition of it, made is found. Never raises for what lies there."""
    product, at = PRODUCTS[asset], store.locations
    if product.roles is not None and partition is not None:
        kept = [role for role in product.roles(partition) if store.has_run(role)]
        found = [run_condition(store, role) for role in kept]
        return next((one for one in found if not one.whole), WHOLE if kept else _missing(f"{asset} [{partition}]"))
    found = [_missing(place) for place in product.places(at) if not place.exists()]
    if product.record is not None:
        found.append(record_condition(store, product.record))
    if asset == "baseline_results" and not at.results_are_imported:
        found.append(results_condition(store))
    elif asset == "inference_schema":
        found += [manifest_condition(store), export_condition(store), duckdb_condition(at.duckdb_path)]
    return next((one for one in found if not one.whole), WHOLE)


def record_condition(store: Store, record_type: type[Record]) -> Condition:
    """How a record is found, with the files that belong to it: a corpus folder, an .env or .txt beside it."""
    path = store.path(record_type)
    try:
        if not path.exists():
            return _missing(path)
        record = store.read(record_type)
    except StorageError as error:
        return Condition("damaged", str(error))
    except OSError as error:
        return Condition("damaged", f"{path} can't be read: {error.strerror or error}")
    if isinstance(record, TokenizerInfo | TokenShards):
        return folder_condition(Path(record.path))
    at = store.locations
    if isinstance(record, BaselineThreshold):
        return _text_condition(at.baseline_threshold_env, threshold_env(record))
    if isinstance(record, ScalingParams):
        return _text_condition(at.scaling_txt, f"{record.n_scaling_params}\n")
    if isinstance(record, Calibration):
        return _text_condition(at.calib_env, calibration_env(record))
    return WHOLE


def folder_condition(folder: Path) -> Condition:
    """How a folder of the corpus is found: a tokenizer's, or one of token shards."""
    try:
        indexes = [folder / name for name in ("meta.json", "info.json", "checkout.json") if (folder / name).is_file()]
        if not indexes:
            return _missing(folder)
        damage = mismatch(folder, unsealed_json(indexes[0].read_text(encoding="utf-8")).get(FILES, {}))
    except FileNotFoundError as error:
        return _missing(Path(error.filename))
    except OSError as error:
        return Condition("damaged", f"{folder} can't be read: {error.strerror or error}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Condition("damaged", f"{folder}: {error}")
    return Condition("damaged", f"{folder}: {damage}") if damage else WHOLE


def run_condition(store: Store, role: str) -> Condition:
    """How the result in a role is found, and the copy of its log that people read."""
    path = store.run_path(role)
    try:
        if not store.has_run(role):
            return _missing(path)
        result = store.read_run(role, role)
        log = _place_of(store, result)
        if log is None or role.startswith("imported_"):
            return WHOLE
        data = log.read_bytes()
    except StorageError as error:
        return Condition("damaged", str(error))
    except FileNotFoundError:
        return _missing(result.log_path)
    except OSError as error:
        return Condition("damaged", f"{path} or its log can't be read: {error.strerror or error}")
    if result.log_checksum and checksum(data) != result.log_checksum:
        return Condition("damaged", f"{result.log_path} is not the log that was written: its checksum differs")
    return WHOLE


def results_condition(store: Store) -> Condition:
    """How results.csv is found: whether the latest row of each baseline's seed is the row of its run.

    A run that is missing or damaged itself is no matter of the file's.
    """
    path = store.locations.baseline_results_csv
    if not path.exists():
        return _missing(path)
    try:
        latest = latest_rows(read_results(path))
        roles = [baseline_role(seed) for seed in store.read(Experiment).baseline.seeds]
    except StorageError as error:
        return Condition("damaged", str(error))
    for role in roles:
        if (
            store.has_run(role)
            and run_condition(store, role).whole
            and not _has_row(latest, store.read_run(role, role))
        ):
            return Condition("damaged", f"{path}: the latest row of {role} is not that of its run")
    return WHOLE


def _has_row(latest: pd.DataFrame, run: RunResult) -> bool:
    expected = results_frame([results_row(run, experiment_name="")]).iloc[0]
    rows = latest[latest["seed"] == run.seed]
    names = [name for name in latest.columns if name not in ("experiment_name", "timestamp")]
    return not rows.empty and bool(rows.iloc[0][names].equals(expected[names]))


def manifest_condition(store: Store) -> Condition:
    """How candidate_runs.csv is found, and whether it names the logs of this work directory."""
    path = store.locations.manifest_csv
    if not path.exists():
        return _missing(path)
    try:
        rows = store.read_manifest()
    except (StorageError, OSError) as error:
        return Condition("damaged", str(error))
    missing = [row.log_path for row in rows if row.log_path and not Path(row.log_path).exists()]
    return _missing(missing[0]) if missing and "://" not in missing[0] else WHOLE


def export_condition(store: Store) -> Condition:
    """How the CSV export of the schema table is found. What it says is written anew from the DuckDB file each time."""
    path = store.locations.schema_path
    try:
        text = read_text(path, "inference_schema")
    except StorageError as error:
        return Condition("damaged" if path.exists() else "missing", str(error))
    whole = text.startswith(",".join(SCHEMA_COLUMNS)) and text.endswith("\n")
    return WHOLE if whole else Condition("damaged", f"{path} is cut or no schema CSV")


def duckdb_condition(path: Path) -> Condition:
    """Whether a DuckDB file begins as one and gives its rows; who holds it is not waited for, and nobody for us."""
    try:
        with path.open("rb") as file:
            begins = file.read(_DUCKDB_HEADER)
    except FileNotFoundError:
        return _missing(path)
    except OSError as error:
        return Condition("damaged", f"{path} can't be read: {error.strerror or error}")
    if len(begins) != _DUCKDB_HEADER or begins[8:12] != b"DUCK":
        return Condition("damaged", f"{path} is no DuckDB file")
    damage = Warehouse(path).damage()
    return Condition("damaged", damage) if damage else WHOLE


def _text_condition(path: AnyPath, text: str) -> Condition:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _missing(path)
    except OSError as error:
        return Condition("damaged", f"{path} can't be read: {error.strerror or error}")
    return WHOLE if data == text.encode() else Condition("damaged", f"{path} is not what was written")


def _place_of(store: Store, result: RunResult) -> AnyPath | None:
    if not result.log_path:
        return None
    if "://" not in result.log_path:
        return Path(result.log_path)
    from upath import UPath

    return UPath(result.log_path)


def _missing(path: object) -> Condition:
    return Condition("missing", f"{path} is not there")
