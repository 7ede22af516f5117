"""The baselines: trained per seed, or read from a results directory made elsewhere."""

import dagster as dg

from laneb.decision.baselines import baseline_results_of, keep_baseline_results
from laneb.records.experiment import Experiment
from laneb.storage.results import results_fingerprint
from laneb.storage.roles import baseline_role
from laneb.storage.store import Store
from laneb_assets.automation import SOURCE_HASH
from laneb_assets.frames import BaselineResultsFrame, checked, column_schema
from laneb_assets.lane import lane_asset
from laneb_assets.metadata import materialized
from laneb_assets.resources import Stored, Training
from laneb_assets.training_runs import keep, run_metadata, run_spec


@lane_asset(
    group="baseline",
    deps=["token_shards"],
    settings=["model", "training", "baseline"],
    partitions="baseline_seed",
    kinds=["pytorch"],
    pool="training",
)
def baseline_runs(context: dg.AssetExecutionContext, store: Stored, trainer: Training) -> dg.MaterializeResult:
    """One finished run per baseline seed: what the loss is when the horizon is chosen as people do today."""
    baseline = store.read(Experiment).baseline
    spec = run_spec(store, seed=int(context.partition_key), steps=baseline.num_iterations, ratio=baseline.default_ratio)
    result = trainer.train(context, spec)
    log = store.locations.baseline_results_dir / f"baseline_d{spec.depth}_s{spec.seed}_train.log"
    result = keep(store, result, role=baseline_role(spec.seed), log=log)
    return materialized(result, log, **run_metadata(result))


@lane_asset(group="baseline", deps=["baseline_runs"], settings=["baseline"], kinds=["pandas"])
def baseline_results(context: dg.AssetExecutionContext, store: Stored) -> dg.MaterializeResult:
    """results.csv: a row per baseline run; the latest row of a seed counts."""
    experiment = store.read(Experiment)
    results = baseline_results_of(store, experiment)
    checked(context, BaselineResultsFrame, results.latest)
    keep_baseline_results(store, experiment, results)
    for warning in results.warnings:
        context.log.warning(warning)
    return materialized(
        path=store.locations.baseline_results_csv,
        version=results.content_hash(),
        extra={**column_schema(results.latest), **_source(store, experiment)},
        seeds=len(results.latest),
        median_min_val_bpb=float(results.latest["min_val_bpb"].median()),
    )


def _source(store: Store, experiment: Experiment) -> dict[str, str]:
    """What an imported directory held, so that the sensor sees when it changes."""
    if experiment.baseline.source != "directory":
        return {}
    return {SOURCE_HASH: results_fingerprint(store.locations) or ""}
