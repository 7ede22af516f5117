"""MLflow: a server that MLFLOW_TRACKING_URI names, else a database beside the runs."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from filelock import FileLock

from laneb.training.trackers import PROJECT, first_line, tracked_as

if TYPE_CHECKING:
    from pathlib import Path

    from laneb.training.spec import RunSpec

FINGERPRINT = "laneb.fingerprint"
DATABASE = "mlflow.db"
ENDED = {"ok": "FINISHED", "failed_nan": "FAILED", "failed": "FAILED"}
"""MLflow's words for how a run ended; one that was stopped is none of these, and goes on later."""


def has_server() -> bool:
    """Whether somebody said where MLflow's runs go, by MLflow's own variable."""
    from mlflow.tracking import is_tracking_uri_set

    said: Callable[[], bool] = is_tracking_uri_set
    return said()


def _alone(database: Path) -> FileLock:
    """Runs that start side by side make the database's tables one after another."""
    return FileLock(database.with_name(f".{database.name}.lock"))


class MlflowTracker:
    """An MLflow run of a training run, found again by the run's fingerprint and attempt when it is resumed.

    Raises:
        ValueError: MLflow doesn't start.
    """

    name = "mlflow"

    def __init__(self, spec: RunSpec, run_dir: Path) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        # Each start would tell of its database's tables.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        database = None if has_server() else run_dir.absolute().parent / DATABASE
        try:
            with contextlib.nullcontext() if database is None else _alone(database):
                self._client = MlflowClient(tracking_uri=None if database is None else f"sqlite:///{database}")
                experiment = self._experiment(database)
                self._run_id = self._found(experiment, spec) or self._made(experiment, spec)
        except (MlflowException, OSError) as error:
            raise ValueError(
                f"LANE_B_TRACKERS: MLflow doesn't start: {first_line(error)}. Set "
                "MLFLOW_TRACKING_URI to a server that answers, or LANE_B_TRACKERS without mlflow"
            ) from error
        self.link = f"{self._client.tracking_uri}#/experiments/{experiment}/runs/{self._run_id}"
        self._known: dict[str, int] = {}

    def begin(self, step: int) -> None:
        """Find out what an earlier start logged: it is not logged again."""
        for name in self._client.get_run(self._run_id).data.metrics:
            history = self._client.get_metric_history(self._run_id, name)
            self._known[name] = max(metric.step for metric in history)
        self._client.update_run(self._run_id, status="RUNNING")

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Metrics of a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value in numbers.items() if step > self._known.get(name, -1)]
        if new:
            self._client.log_batch(self._run_id, metrics=new)

    def flush(self) -> None:
        """Nothing: each call is answered."""

    def close(self, status: str) -> None:
        """Say how it ended."""
        self._client.set_terminated(self._run_id, ENDED.get(status, "KILLED"))

    def _experiment(self, database: Path | None) -> str:
        found = self._client.get_experiment_by_name(PROJECT)
        if found is not None:
            return str(found.experiment_id)
        # Artifacts would else lie in whatever folder the process was started in.
        artifacts = None if database is None else database.with_suffix("").as_uri()
        return str(self._client.create_experiment(PROJECT, artifact_location=artifacts))

    def _found(self, experiment: str, spec: RunSpec) -> str | None:
        runs = self._client.search_runs([experiment], f"tags.`{FINGERPRINT}` = '{tracked_as(spec)}'", max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _made(self, experiment: str, spec: RunSpec) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(experiment, run_name=spec.run_id, tags={FINGERPRINT: tracked_as(spec)})
        spelled = spec.model_dump(mode="json").items()
        self._client.log_batch(run.info.run_id, params=[Param(name, str(value)) for name, value in spelled])
        return str(run.info.run_id)
