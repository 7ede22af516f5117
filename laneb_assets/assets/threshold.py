"""The loss to reach."""

import dagster as dg

from laneb.decision.threshold import target_threshold, threshold_from
from laneb.records.experiment import Experiment
from laneb.storage import roles
from laneb.storage.results import read_results
from laneb_assets.lane import lane_asset
from laneb_assets.metadata import materialized
from laneb_assets.plots import plotted, training_curves_figure
from laneb_assets.resources import Stored


@lane_asset(group="baseline", deps=["baseline_results"], settings=["threshold", "baseline"], kinds=["pandas"])
def baseline_threshold(store: Stored) -> dg.MaterializeResult:
    """The validation bpb that a candidate has to reach: the baselines' median plus the offset."""
    experiment = store.read(Experiment)
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
    runs = roles.baseline_runs(store, experiment)
    value, _ = target_threshold(threshold, knobs.target_threshold)
    return materialized(
        threshold,
        written,
        threshold_bpb=threshold.recommended_target_threshold,
        baseline_median_bpb=threshold.median_min_val_bpb,
        extra={"curves": plotted(store, "baseline_runs", training_curves_figure(runs, value))},
        explicit_threshold_bpb=knobs.target_threshold,
    )
