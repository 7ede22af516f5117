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


def lane_curves(store: Store, experiment: Experiment, threshold: float | None) -> list[Curve]:
    """The curves of every run that is there, by arm and seed."""
    baselines = _there(store, [roles.baseline_role(seed) for seed in experiment.baseline.seeds])
    baselines = baselines or _there(store, [roles.imported_role(seed) for seed in experiment.baseline.seeds])
    knobs = experiment.calibration
    names = [roles.calibration_role(steps, seed) for steps in knobs.iterations for seed in knobs.all_seeds]
    runs = [("baseline", run) for run in baselines]
    runs += [("calibration", run) for run in _there(store, names)]
    seeds = experiment.candidates.run_seeds
    runs += [(mode, run) for mode in MODES for run in _there(store, [roles.candidate_role(mode, s) for s in seeds])]
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


def _there(store: Store, names: list[str]) -> list[RunResult]:
    return [run for run in map(store.whole_run, names) if run is not None]
