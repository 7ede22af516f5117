"""The experiment's work directory: typed reads and atomic writes of the files of formats.md.

An asset reads what it needs with `store.read(RecordType)` and hands its own record to `store.write`. A file that isn't
there yet is a `StorageError` that names the asset which makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from laneb.places import AnyPath, Locations
from laneb.records.base import DamagedError, Record, canonical_hash
from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration
from laneb.records.candidates import CandidateRow
from laneb.records.runs import RunResult
from laneb.records.scaling import ScalingParams
from laneb.storage.atomic import StorageError, read_text, write_bytes, write_text
from laneb.storage.formats import calibration_env, manifest_csv, parse_manifest, threshold_env
from laneb.storage.portable import here, portable, resolved, resolved_run
from laneb.storage.products import MADE_BY, PRODUCTS
from laneb.storage.schema_table import render_schema_csv

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class Store:
    """Reads and writes one experiment's records at its locations."""

    locations: Locations

    def path(self, record_type: type[Record]) -> AnyPath:
        """Where records of this type lie."""
        place = PRODUCTS[MADE_BY[record_type]].at
        assert place is not None
        return place(self.locations)

    def has(self, record_type: type[Record]) -> bool:
        """Whether a record of this type is there and whole: one that was damaged is made again, as if it weren't."""
        try:
            self.read(record_type)
        except StorageError:
            return False
        return True

    def data_version(self, asset: str, partition: str | None = None) -> str | None:
        """Identity of what lies there of an asset, or one partition of it; None where no one thing identifies it."""
        product = PRODUCTS[asset]
        if product.roles is not None:
            assert partition is not None
            runs = [self.read_run(role, asset) for role in product.roles(partition) if self.has_run(role)]
            return runs_version(runs) if runs else None
        if product.record is None or not self.has(product.record):
            return None
        return self.read(product.record).content_hash()

    def run_hash(self, name: str) -> str | None:
        """Identity of the result in the role `name`; None without one."""
        return self.read_run(name, name).content_hash() if self.has_run(name) else None

    def read(self, record_type: type[RecordT]) -> RecordT:
        """The record of this type.

        Raises:
            StorageError: not made yet, or the file does not hold such a record.
        """
        path = self.path(record_type)
        return resolved(_parse(record_type, read_text(path, MADE_BY[record_type]), path), self.locations)

    def write(self, record: Record) -> AnyPath:
        """Write a record's JSON, and the .env or .txt that stands beside it; returns the JSON's path."""
        path = self.path(type(record))
        at = self.locations
        write_text(path, portable(record, at).to_json())
        if isinstance(record, BaselineThreshold):
            write_text(at.baseline_threshold_env, threshold_env(record))
        elif isinstance(record, ScalingParams):
            write_text(at.scaling_txt, f"{record.n_scaling_params}\n")
        elif isinstance(record, Calibration):
            write_text(at.calib_env, calibration_env(record))
        return path

    def run_path(self, name: str) -> AnyPath:
        """Where the result of the run in the role `name` (such as baseline_s41) is kept."""
        return self.locations.run_results_dir / f"{name}.json"

    def write_run(self, name: str, result: RunResult) -> AnyPath:
        """Keep a run's result under its role."""
        path = self.run_path(name)
        write_text(path, portable(result, self.locations).to_json())
        return path

    def read_run(self, name: str, made_by: str) -> RunResult:
        """The result of the run in the role `name`; a StorageError names the asset partition that makes it."""
        path = self.run_path(name)
        return resolved_run(name, _parse(RunResult, read_text(path, made_by), path), self.locations)

    def forget_run(self, name: str) -> None:
        """Keep no result in the role `name`; its run directory stays."""
        self.run_path(name).unlink(missing_ok=True)

    def has_run(self, name: str) -> bool:
        """Whether the run in the role `name` has a result, be it damaged: no answer is made without it."""
        return bool(self.run_path(name).exists())

    def whole_run(self, name: str) -> RunResult | None:
        """The result in the role `name`; None where it is missing or damaged. For what decides nothing."""
        try:
            return self.read_run(name, name)
        except StorageError:
            return None

    def write_manifest(self, rows: Iterable[CandidateRow]) -> AnyPath:
        """Write candidate_runs.csv whole."""
        write_text(self.locations.manifest_csv, manifest_csv(rows))
        return self.locations.manifest_csv

    def read_manifest(self) -> list[CandidateRow]:
        """The rows of candidate_runs.csv."""
        path = self.locations.manifest_csv
        rows = parse_manifest(read_text(path, "inference_schema"), str(path))
        return [here(row, self.locations) for row in rows]

    def name_this_place(self) -> list[AnyPath]:
        """Write again what names the places of the directory that this one was copied from; the files written.

        `candidate_runs.csv` and `baseline_threshold.json` hold whole paths, since people's scripts open them.
        """
        return [*self._name_logs(), *self._name_results()]

    def _name_logs(self) -> list[AnyPath]:
        at = self.locations
        if not at.manifest_csv.exists():
            return []
        try:
            rows = parse_manifest(read_text(at.manifest_csv, "inference_schema"), str(at.manifest_csv))
        except StorageError:  # a damaged one is made again by its asset
            return []
        elsewhere = any(row != here(row, at) for row in rows)
        return [self.write_manifest(here(row, at) for row in rows)] if elsewhere else []

    def _name_results(self) -> list[AnyPath]:
        path = self.path(BaselineThreshold)
        if not path.exists():
            return []
        try:
            threshold = _parse(BaselineThreshold, read_text(path, "baseline_threshold"), path)
        except StorageError:
            return []
        known = resolved(threshold, self.locations)
        return [self.write(known)] if known != threshold else []

    def write_plot(self, name: str, data: bytes) -> AnyPath:
        """Write a plot at full size."""
        path = self.locations.plots_dir / name
        write_bytes(path, data)
        return path

    def write_schema_csv(self, texts: list[str]) -> AnyPath:
        """Write the CSV export of the schema table from its rows' texts."""
        write_text(self.locations.schema_path, render_schema_csv(texts))
        return self.locations.schema_path


def runs_version(runs: Sequence[RunResult]) -> str:
    """Identity of what a partition trained: its one run, or its runs with what each was asked for."""
    if len(runs) == 1 and runs[0].made_for is None:
        return runs[0].content_hash()
    return canonical_hash([run.content_hash() for run in runs])


def _parse(record_type: type[RecordT], text: str, path: AnyPath) -> RecordT:
    try:
        return record_type.from_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        said = f"{where}: {first['msg']} ({error.error_count()} problem(s))"
    except DamagedError as error:
        said = str(error)
    raise StorageError(f"{path}: {said}. `laneb run` makes it again.")
