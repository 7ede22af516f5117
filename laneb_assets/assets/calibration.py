"""Short runs that are trained to their end, and the points they give."""

import dagster as dg

from laneb import wanted
from laneb.inference.calibration import calibration_from
from laneb.settings import Settings
from laneb.storage import roles
from laneb.storage.products import horizon_and_seed
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.assets.training_runs import keep, run_curves, run_metadata, tracker_links
from laneb_assets.names import TRAINING_POOL
from laneb_assets.partitions import partitions_of
from laneb_assets.resources import Repeat, Stored, Training
from laneb_assets.views.metadata import materialized
from laneb_assets.views.plots import plotted, training_curves_figure


def calibration_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The calibration runs, and their finals."""
    return [
        lane_asset(
            settings,
            calibration_runs,
            group="calibration",
            deps=["token_shards"],
            sections=["model", "training"],
            partitions=partitions_of(settings).horizon_and_seed,
            kinds=["pytorch"],
            pool=TRAINING_POOL,
        ),
        lane_asset(
            settings,
            calibration_points,
            group="calibration",
            deps=["calibration_runs", "baseline_results"],
            sections=["calibration", "baseline"],
            kinds=["numpy"],
        ),
    ]


def calibration_runs(
    context: dg.AssetExecutionContext, config: Repeat, store: Stored, trainer: Training
) -> dg.MaterializeResult:
    """One finished run per horizon and seed: only a run whose schedule has ended is a point of a loss curve."""
    steps, seed = horizon_and_seed(context.partition_key)
    experiment = store.experiment()
    role = roles.calibration_role(steps, seed)
    trained = trainer.train(context, wanted.wanted_spec(store, experiment, seed=seed, steps=steps), role, config)
    suffix = f"_s{seed}" if len(experiment.calibration.all_seeds) > 1 else ""
    log = store.locations.log_dir / f"laneb_calib_{steps}{suffix}.log"
    result = keep(store, trained.result, role=role, log=log)
    seen = {"curves": run_curves(store, [("calibration", result)]), **tracker_links(store, result)}
    return materialized(result, log, extra=seen, runs_trained=int(trained.now), **run_metadata(result))


def calibration_points(store: Stored) -> dg.MaterializeResult:
    """Tokens and final loss of the finished runs, the baselines' among them where schedule and shape match."""
    experiment = store.experiment()
    runs = wanted.calibration_runs(store, experiment)
    calibration = calibration_from(
        runs,
        baselines=wanted.baseline_runs(store, experiment),
        required_seeds=experiment.baseline.seeds,
    )
    calibration = calibration.model_copy(update={"run_versions": tuple(run.content_hash() for run in runs)})
    path = store.write(calibration)
    losses = [point.loss for point in calibration.points]
    return materialized(
        calibration,
        path,
        extra={"curves": plotted(store, "calibration_runs", training_curves_figure(runs, None))},
        points=len(losses),
        lowest_bpb=min(losses),
        highest_bpb=max(losses),
    )
