"""Whether the trained runs are of the settings that hold now.

Dagster shows no staleness for assets with partitions: these checks do, by partition and knob. They are evaluated with
each partition that is materialized, and for all trained assets as soon as `experiment` stores other settings.
"""

from collections.abc import Iterable

import dagster as dg

from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.storage.atomic import StorageError
from laneb.storage.store import Store
from laneb.wanted import StaleRun, candidate_runs, stale_runs
from laneb_assets.names import TRAINED, key_of
from laneb_assets.resources import Stored

UP_TO_DATE = "up_to_date_with_settings"


def up_to_date_checks(experiment: str, assets: Iterable[str]) -> list[dg.AssetChecksDefinition]:
    """`up_to_date_with_settings` of each of the trained assets."""
    return [_check(experiment, asset) for asset in assets]


def _check(experiment: str, asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key_of(experiment, asset),
        name=UP_TO_DATE,
        description="Every run that is there was trained by the settings that hold now.",
    )
    def check(store: Stored) -> dg.AssetCheckResult:
        return judged(stale_partitions(store, asset))

    return check


def stale_partitions(store: Store, asset: str) -> list[StaleRun]:
    """The runs of a trained asset that are not of the stored settings (candidates: nor of the stored inference)."""
    experiment = store.read(Experiment)
    try:
        if asset == "candidate_runs":
            return list(candidate_runs(store, experiment, store.read(Inference)).earlier)
        return stale_runs(store, experiment, asset)
    except StorageError:
        # What runs would be trained on isn't there: nothing can be said of runs before it is.
        return []


def judged(stale: list[StaleRun]) -> dg.AssetCheckResult:
    """The check's result for the stale runs of one asset."""
    partitions = sorted({run.partition for run in stale})
    remedy = ". Materialize these partitions again (or run: laneb run); what reads them refuses them until then."
    return dg.AssetCheckResult(
        passed=not stale,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(map(str, stale)) + remedy if stale else "trained by the settings that hold now",
        metadata={"stale": len(partitions), "partitions": ", ".join(partitions) or "none"},
    )


def report_stale_partitions(instance: dg.DagsterInstance, store: Store, experiment: str, assets: Iterable[str]) -> None:
    """Evaluate the checks now, outside of a run of their assets: the stored settings have changed."""
    for asset in assets:
        result = judged(stale_partitions(store, asset))
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key_of(experiment, asset),
                check_name=UP_TO_DATE,
                passed=result.passed,
                severity=result.severity,
                description=result.description,
                metadata=result.metadata,
            )
        )


def trained_assets(source: str) -> tuple[str, ...]:
    """The trained assets of an experiment, by where its baselines come from."""
    return TRAINED if source == "runs" else tuple(name for name in TRAINED if name != "baseline_runs")
