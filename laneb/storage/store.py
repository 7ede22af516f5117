"""The experiment's work directory: typed reads and atomic writes of the files of formats.md.

An asset reads what it needs with `store.read(RecordType)` and hands its own record to `store.write`. A file that isn't
there yet is a `StorageError` that names the asset which makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from laneb.places import AnyPath, Locations
from laneb.records.base import DamagedError, Record
from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration
from laneb.records.candidates import CandidateRow
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.runs import RunResult
from laneb.records.scaling import ScalingParams
from laneb.records.statistics import ContextLossDecay, DatasetStats
from laneb.records.verdict import Verdict
from laneb.storage.atomic import StorageError, read_text, write_bytes, write_text
from laneb.storage.formats import calibration_env, manifest_csv, parse_manifest, threshold_env
from laneb.storage.portable import here, portable, resolved, resolved_run
from laneb.storage.schema_table import render_schema_csv

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class _File:
    """Where a record type lies and which asset makes it."""

    place: Callable[[Locations], AnyPath]
    made_by: str


_FILES: dict[type[Record], _File] = {
    Experiment: _File(lambda at: at.experiment_json, "experiment"),
    TokenizerInfo: _File(lambda at: at.work_dir / "tokenizer.json", "tokenizer"),
    TokenShards: _File(lambda at: at.work_dir / "token_shards.json", "token_shards"),
    BaselineThreshold: _File(lambda at: at.baseline_threshold_json, "baseline_threshold"),
    ScalingParams: _File(lambda at: at.scaling_json, "scaling_params"),
    DatasetStats: _File(lambda at: at.stats_json, "dataset_stats"),
    ContextLossDecay: _File(lambda at: at.work_dir / "context_loss.json", "context_loss"),
    Calibration: _File(lambda at: at.calib_json, "calibration_points"),
    Inference: _File(lambda at: at.infer_json, "ratio_inference"),
    Verdict: _File(lambda at: at.work_dir / "verdict.json", "lane_b_summary"),
}


@dataclass(frozen=True)
class Store:
    """Reads and writes one experiment's records at its locations."""

    locations: Locations

    def path(self, record_type: type[Record]) -> AnyPath:
        """Where records of this type lie."""
        return _FILES[record_type].place(self.locations)

    def has(self, record_type: type[Record]) -> bool:
        """Whether a record of this type was written."""
        return bool(self.path(record_type).exists())

    def has_made(self, asset: str) -> bool:
        """Whether the records that an asset makes are there, and the corpus files that they point to."""
        records = [record_type for record_type, file in _FILES.items() if file.made_by == asset]
        if not all(self.has(record_type) for record_type in records):
            return False
        pointers = [
            *([self.read(TokenizerInfo).path] if TokenizerInfo in records else []),
            *([self.read(TokenShards).path] if TokenShards in records else []),
        ]
        return all(Path(pointer).is_dir() for pointer in pointers)

    def content_hash(self, asset: str) -> str | None:
        """Identity of the one record that an asset makes and is versioned by; None where there is no such record."""
        records = [record_type for record_type, file in _FILES.items() if file.made_by == asset]
        if len(records) != 1 or asset == "calibration_points" or not self.has(records[0]):
            return None
        return self.read(records[0]).content_hash()

    def run_hash(self, name: str) -> str | None:
        """Identity of the result in the role `name`; None without one."""
        return self.read_run(name, name).content_hash() if self.has_run(name) else None

    def read(self, record_type: type[RecordT]) -> RecordT:
        """The record of this type.

        Raises:
            StorageError: not made yet, or the file does not hold such a record.
        """
        path = self.path(record_type)
        return resolved(_parse(record_type, read_text(path, _FILES[record_type].made_by), path), self.locations)

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
        """Whether the run in the role `name` has a result."""
        return bool(self.run_path(name).exists())

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
        at, written = self.locations, []
        if at.manifest_csv.exists():
            text = read_text(at.manifest_csv, "inference_schema")
            rows = parse_manifest(text, str(at.manifest_csv))
            if any(row != here(row, at) for row in rows):
                written.append(self.write_manifest(here(row, at) for row in rows))
        if self.has(BaselineThreshold):
            path = self.path(BaselineThreshold)
            threshold = _parse(BaselineThreshold, read_text(path, "baseline_threshold"), path)
            if threshold != resolved(threshold, at):
                written.append(self.write(resolved(threshold, at)))
        return written

    def write_plot(self, name: str, data: bytes) -> AnyPath:
        """Write a plot at full size."""
        path = self.locations.plots_dir / name
        write_bytes(path, data)
        return path

    def write_schema_csv(self, texts: list[str]) -> AnyPath:
        """Write the CSV export of the schema table from its rows' texts."""
        write_text(self.locations.schema_path, render_schema_csv(texts))
        return self.locations.schema_path


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
