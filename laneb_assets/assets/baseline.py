"""The baselines, trained per seed or read from a results directory made elsewhere, and the loss that they set."""

import dagster as dg

from laneb import wanted
from laneb.baseline_results import baseline_results_of, keep_baseline_results
from laneb.decision.threshold import target_threshold, threshold_from
from laneb.records.experiment import Experiment
from laneb.settings import Settings
from laneb.storage import roles
from laneb.storage.products import SOURCE_HASH
from laneb.storage.results import read_results, results_fingerprint
from laneb.storage.store import Store
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.assets.training_runs import keep, run_curves, run_metadata, tracker_links
from laneb_assets.names import TRAINING_POOL
from laneb_assets.partitions import partitions_of
from laneb_assets.resources import Repeat, Stored, Training
from laneb_assets.views.frames import BaselineResultsFrame, checked, column_schema
from laneb_assets.views.metadata import materialized
from laneb_assets.views.plots import plotted, training_curves_figure


def baseline_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The baselines' assets; with imported results, without the one that trains."""
    trained = settings.baseline.source == "runs"
    runs = lane_asset(
        settings,
        baseline_runs,
        group="baseline",
        deps=["token_shards"],
        sections=["model", "training", "baseline"],
        partitions=partitions_of(settings).baseline_seed,
        kinds=["pytorch"],
        pool=TRAINING_POOL,
    )
    results = lane_asset(
        settings,
        baseline_results,
        group="baseline",
        deps=["baseline_runs"] if trained else [],
        sections=["baseline"],
        kinds=["pandas"],
    )
    threshold = lane_asset(
        settings,
        baseline_threshold,
        group="baseline",
        deps=["baseline_results"],
        sections=["threshold", "baseline"],
        kinds=["pandas"],
    )
    return [*([runs] if trained else []), results, threshold]


def baseline_runs(
    context: dg.AssetExecutionContext, config: Repeat, store: Stored, trainer: Training
) -> dg.MaterializeResult:
    """One finished run per baseline seed: what the loss is when the horizon is chosen as people do today."""
    spec = wanted.wanted_baseline(store, store.experiment(), int(context.partition_key))
    role = roles.baseline_role(spec.seed)
    trained = trainer.train(context, spec, role, config)
    log = store.locations.baseline_results_dir / f"baseline_d{spec.depth}_s{spec.seed}_train.log"
    result = keep(store, trained.result, role=role, log=log)
    seen = {"curves": run_curves(store, [("baseline", result)]), **tracker_links(store, result)}
    return materialized(result, log, extra=seen, runs_trained=int(trained.now), **run_metadata(result))


def baseline_results(context: dg.AssetExecutionContext, store: Stored) -> dg.MaterializeResult:
    """results.csv: a row per baseline run; the latest row of a seed counts."""
    experiment = store.experiment()
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


def baseline_threshold(store: Stored) -> dg.MaterializeResult:
    """The validation bpb that a candidate has to reach: the baselines' median plus the offset."""
    experiment = store.experiment()
    knobs, path = experiment.threshold, store.locations.baseline_results_csv
    threshold = threshold_from(
        read_results(path),
        seeds=experiment.baseline.seeds,
        offset=knobs.threshold_offset,
        min_success=knobs.min_success,
        metric=knobs.target_metric,
        results_csv=str(path),
    )
    written = store.write(threshold)
    runs = wanted.baseline_runs(store, experiment)
    value, _ = target_threshold(threshold, knobs.target_threshold)
    return materialized(
        threshold,
        written,
        threshold_bpb=threshold.recommended_target_threshold,
        baseline_median_bpb=threshold.median_min_val_bpb,
        extra={"curves": plotted(store, "baseline_runs", training_curves_figure(runs, value))},
        explicit_threshold_bpb=knobs.target_threshold,
    )


def _source(store: Store, experiment: Experiment) -> dict[str, str]:
    """What an imported directory held, so that the sensor sees when it changes."""
    if experiment.baseline.source != "directory":
        return {}
    return {SOURCE_HASH: results_fingerprint(store.locations) or ""}
