"""The validation curves of a lane's runs, and where they cross the threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from laneb.decision.threshold import target_threshold
from laneb.records.baseline import BaselineThreshold
from laneb.records.candidates import MODES
from laneb.records.inference import Inference
from laneb.storage import roles
from laneb.training.time_to_target import time_to_target

if TYPE_CHECKING:
    from laneb.records.experiment import Experiment
    from laneb.records.runs import RunResult, ValidationPoint
    from laneb.storage.store import Store

ARMS = ("baseline", "calibration", *MODES)
"""What a run is for, in the order of reading."""


@dataclass(frozen=True)
class Curve:
    """One run's validation curve."""

    arm: str
    seed: int
    steps: int
    """Its horizon."""
    points: tuple[ValidationPoint, ...]
    """From the first evaluation after step 0 on."""
    crossing: tuple[float, float] | None
    """Step and seconds at which it crosses the threshold; None where it does not, or there is none."""


def curve_of(run: RunResult, arm: str, threshold: float | None) -> Curve:
    """A run's curve, in a role."""
    points = tuple(point for point in run.val_curve if point.step > 0)
    crossing = None
    if threshold is not None and points:
        time = time_to_target(run.val_curve, threshold)
        if time.interpolated_step is not None and time.interpolated_sec is not None:
            crossing = (time.interpolated_step, time.interpolated_sec)
    return Curve(arm, run.seed, run.steps, points, crossing)


def threshold_so_far(store: Store, experiment: Experiment) -> float | None:
    """The threshold that candidates were inferred for, else the baselines', else none."""
    if store.has(Inference):
        return store.read(Inference).target_metric_threshold
    if store.has(BaselineThreshold):
        return target_threshold(store.read(BaselineThreshold), experiment.threshold.target_threshold)[0]
    return experiment.threshold.target_threshold


def lane_curves(
    store: Store, experiment: Experiment, threshold: float | None, *, most: int | None = None
) -> list[Curve]:
    """The curves of every run that is there, by arm and seed; of `most` roles, evenly chosen, where there are more."""
    knobs, seeds = experiment.calibration, experiment.baseline.seeds
    trained = [("baseline", roles.baseline_role(seed)) for seed in seeds]
    imported = [("baseline", roles.imported_role(seed)) for seed in seeds]
    others = [("calibration", roles.calibration_role(n, seed)) for n in knobs.iterations for seed in knobs.all_seeds]
    others += [(mode, roles.candidate_role(mode, seed)) for mode in MODES for seed in experiment.candidates.run_seeds]
    share = 1.0 if most is None else most / (len(trained) + len(others))
    baselines = _there(store, _some(trained, share)) or _there(store, _some(imported, share))
    runs = [*baselines, *_there(store, _some(others, share))]
    return [curve_of(run, arm, threshold) for arm, run in runs if len(run.val_curve) > 0]


def bpb_range(curves: list[Curve], threshold: float | None) -> tuple[float, float]:
    """The losses worth a plot's height [bpb]: what lies between the end of the steep start and the lowest loss."""
    shown = [
        point.bpb
        for curve in curves
        for point in curve.points
        if point.step >= 0.3 * curve.steps or point is curve.points[-1]
    ]
    shown += [] if threshold is None else [threshold]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _some(named: list[tuple[str, str]], share: float) -> list[tuple[str, str]]:
    """A share of them, evenly spread."""
    return [pair for n, pair in enumerate(named) if int((n + 1) * share) > int(n * share)] if share < 1 else named


def _there(store: Store, named: list[tuple[str, str]]) -> list[tuple[str, RunResult]]:
    return [(arm, run) for arm, run in ((arm, store.whole_run(name)) for arm, name in named) if run is not None]
