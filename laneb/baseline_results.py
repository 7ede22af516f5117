"""The baselines as results.csv says them: of runs trained here, or of a directory made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laneb.records.base import canonical_hash
from laneb.records.runs import RunResult
from laneb.storage.atomic import StorageError, write_text
from laneb.storage.products import imported_role
from laneb.storage.results import latest_rows, read_results, render_results, results_frame, results_row
from laneb.wanted import baseline_runs

if TYPE_CHECKING:
    import pandas as pd

    from laneb.records.experiment import Experiment
    from laneb.storage.store import Store


@dataclass(frozen=True)
class BaselineResults:
    """Every row of results.csv, the latest of each required seed, and the runs behind those."""

    rows: pd.DataFrame
    latest: pd.DataFrame
    runs: tuple[RunResult, ...]
    warnings: tuple[str, ...] = ()

    def content_hash(self) -> str:
        """Identity of the rows that count and of their runs' curves, whenever they were made."""
        cells = self.latest.drop(columns="timestamp").astype(object).where(self.latest.notna(), None)
        runs = [run.content_hash() for run in self.runs]
        return canonical_hash([cells.astype(str).values.tolist(), runs])


def baseline_results_of(store: Store, experiment: Experiment) -> BaselineResults:
    """The baselines of an experiment, by its `baseline.source`; writes nothing.

    Raises:
        StorageError: a required run isn't there, or the directory's rows and logs can't be used.
    """
    imported = experiment.baseline.source == "directory"
    if imported != store.locations.results_are_imported:
        raise StorageError(
            "where the baselines come from (baseline.source) has changed since experiment was materialized: "
            "materialize experiment first (or run: laneb run)."
        )
    if imported:
        return _imported(store, experiment)
    return _trained(store, experiment)


def keep_baseline_results(store: Store, experiment: Experiment, results: BaselineResults) -> None:
    """Write results.csv for runs trained here; for imported ones, which are never written to, keep their runs."""
    if experiment.baseline.source == "directory":
        for seed in experiment.baseline.seeds:
            store.forget_run(imported_role(seed))
        for run in results.runs:
            store.write_run(imported_role(run.seed), run)
        return
    text = render_results(_records(results.rows))
    write_text(store.locations.baseline_results_csv, text)


def _trained(store: Store, experiment: Experiment) -> BaselineResults:
    """Rows of earlier runs stay; a run whose row isn't its seed's latest is appended."""
    path = store.locations.baseline_results_csv
    rows = _records(read_results(path)) if path.exists() else []
    runs = baseline_runs(store, experiment)
    latest = {row["seed"]: row for row in rows}
    for run in runs:
        row = results_row(run, experiment_name=f"{experiment.experiment}_baseline_d{run.depth}_s{run.seed}")
        new = _records(results_frame([row]))[0]
        if latest.get(run.seed) != new:
            rows.append(new)
    frame = results_frame(rows)
    return BaselineResults(frame, _required(frame, experiment), tuple(runs))


def _imported(store: Store, experiment: Experiment) -> BaselineResults:
    from laneb.training.imports import check_results_directory

    at = store.locations
    found = check_results_directory(
        at.baseline_results_dir, experiment.baseline.seeds, csv_path=at.baseline_results_csv
    )
    return BaselineResults(found.rows, _required(found.rows, experiment), tuple(found.runs), tuple(found.warnings))


def _required(rows: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    latest = latest_rows(rows)
    required: pd.DataFrame = latest[latest["seed"].isin(experiment.baseline.seeds)]
    return required


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]
