"""The horizon at which the loss reaches the threshold."""

import dagster as dg

from laneb.decision.threshold import target_threshold
from laneb.inference import infer
from laneb.model.scaling import ModelShape, count_parameters
from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration
from laneb.records.corpus import TokenizerInfo
from laneb.records.inference import Inference
from laneb.records.scaling import ScalingParams
from laneb.records.statistics import DatasetStats
from laneb.report.markdown import markdown_table
from laneb.settings import Settings
from laneb.training.checkout_knobs import customary_ratio
from laneb.training.spec import trained_with
from laneb.wanted import baseline_runs, calibration_runs
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.resources import Stored
from laneb_assets.views.metadata import materialized
from laneb_assets.views.plots import loss_curve_figure, plotted


def inference_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """What the ratio counts, and the ratio."""
    # A checkout brings its own defaults and its own tokenizer.
    checkout = settings.training.backend == "nanochat"
    shape, vocabulary = ["model", "data", *(["training"] if checkout else [])], ["tokenizer"] if checkout else []
    return [
        lane_asset(settings, scaling_params, group="inference", deps=vocabulary, sections=shape, kinds=["python"]),
        lane_asset(
            settings,
            ratio_inference,
            group="inference",
            deps=["calibration_points", "baseline_results", "baseline_threshold", "scaling_params", "dataset_stats"],
            sections=["inference", "threshold", "baseline"],
            kinds=["scipy"],
        ),
    ]


def scaling_params(store: Stored) -> dg.MaterializeResult:
    """The parameter counts of the model's shape; the ratio counts transformer matrices and head."""
    experiment = store.experiment()
    model = trained_with(experiment.model, experiment.training, experiment.origins).model
    own = experiment.training.backend == "nanochat"
    vocabulary = store.read(TokenizerInfo).vocab_size if own else experiment.data.vocab_size
    record = count_parameters(ModelShape.of(model, vocabulary))
    path = store.write(record)
    return materialized(record, path, n_scaling_params=record.n_scaling_params, total_params=record.param_counts.total)


def ratio_inference(context: dg.AssetExecutionContext, store: Stored) -> dg.MaterializeResult:
    """Tokens per scaling parameter at which a run's final loss reaches the threshold, with an interval and gates."""
    experiment = store.experiment()
    explicit = experiment.threshold.target_threshold
    threshold, warning = target_threshold(store.read(BaselineThreshold), explicit)
    calibration = store.read(Calibration)
    inference = infer(
        stats=store.read(DatasetStats),
        calibration=calibration,
        threshold=threshold,
        scaling=store.read(ScalingParams),
        baselines=baseline_runs(store, experiment),
        runs=calibration_runs(store, experiment),
        inference=experiment.inference,
        default_ratio=customary_ratio(experiment),
        required_seeds=experiment.baseline.seeds,
        threshold_offset=None if explicit is not None else experiment.threshold.threshold_offset,
    )
    for sentence in (warning, *inference.warnings):
        if sentence:
            context.log.warning(sentence)
    path = store.write(inference)
    return materialized(
        inference,
        path,
        extra={
            "loss_curve": plotted(store, "loss_curve", loss_curve_figure(inference, calibration)),
            "horizons": horizons_table(inference),
            "sensitivity": sensitivity_table(inference),
        },
        **inference_numbers(inference),
    )


def inference_numbers(inference: Inference) -> dict[str, object]:
    """What Dagster plots over time."""
    low, high = inference.ratio_low, inference.ratio_high
    return {
        "ratio": inference.inferred_target_param_data_ratio,
        "confirmation_ratio": inference.confirmation_ratio,
        "ratio_low": low,
        "ratio_high": high,
        "reach_ratio": inference.reach_ratio,
        "inferred_reach_probability": inference.inferred_reach_probability,
        "confirmation_reach_probability": inference.confirmation_reach_probability,
        "least_time_ratio": inference.least_time_ratio,
        "interval_width": None if low is None or high is None else high - low,
        "alpha": inference.inferred_data_scaling_exponent,
        "alpha_source": inference.alpha_source,
        "threshold_bpb": inference.target_metric_threshold,
        "solve_status": inference.solve_status,
        "promotable": inference.promotable,
    }


def horizons_table(inference: Inference) -> dg.MetadataValue:
    """The horizons that a person may train at, and what it costs to be off the last."""
    reach_low, reach_high = inference.reach_ratio_interval or (None, None)
    horizons = (
        ("inferred", inference.inferred_target_param_data_ratio, inference.ratio_low, inference.ratio_high,
         inference.inferred_reach_probability),
        ("confirmation", inference.confirmation_ratio, None, None, inference.confirmation_reach_probability),
        ("reach", inference.reach_ratio, reach_low, reach_high, inference.reach_probability),
        ("least expected time", inference.least_time_ratio, None, None, inference.least_time_reach_probability),
    )  # fmt: skip
    rows = []
    for name, ratio, low, high, probability in horizons:
        cells = ["" if value is None else f"{value:.4g}" for value in (ratio, low, high, probability)]
        between = f"{cells[1]} to {cells[2]}" if cells[1] or cells[2] else ""
        rows.append((name, cells[0], between, cells[3]))
    costs = ", ".join(
        f"{row.off:+.0%}: {'never' if row.cost is None else f'{row.cost:+.1%}'}" for row in inference.least_time_costs
    )
    table = markdown_table(("horizon", "ratio", "95 % interval", "a new run reaches the threshold"), rows)
    return dg.MetadataValue.md(table + (f"\n\nTime lost off the least: {costs}" if costs else ""))


def sensitivity_table(inference: Inference) -> dg.MetadataValue:
    """How the ratio moves when one thing is changed or left out."""
    rows = []
    for row in inference.sensitivity:
        ratio = "" if row.ratio is None else f"{row.ratio:.4g}"
        moved = "" if row.relative_change is None else f"{row.relative_change:+.1%}"
        rows.append((row.what, row.change, ratio, moved, row.status))
    return dg.MetadataValue.md(markdown_table(("what", "change", "ratio", "relative change", "status"), rows))
