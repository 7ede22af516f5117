"""Each run's time to the threshold, on measured seconds and on the step clock pooled over the arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from laneb.records.runs import RunResult, ValidationPoint
from laneb.records.verdict import ArmTime
from laneb.training.time_to_target import TimeToTarget

BASELINE = "baseline"
Arms = Mapping[str, Sequence[RunResult]]
TimeFunction = Callable[[Sequence[ValidationPoint], float], TimeToTarget]


def pooled_step_sec(arms: Arms) -> float | None:
    """Seconds per step: the median over all runs of their median step time.

    Arms of one shape and batch cost the same per step, so this is a clock without the machine's noise.
    """
    times = [run.dt_median_ms for runs in arms.values() for run in runs if run.dt_median_ms is not None]
    return median(times) / 1000 if times else None


def arm_times(
    arms: Arms, threshold: float, requested: Mapping[str, float], step_sec: float | None, time_to: TimeFunction
) -> list[ArmTime]:
    """A row per run, in the order of arms and seeds.

    Args:
        arms: runs by arm.
        threshold: the same for all [bpb].
        requested: the requested ratio of an arm, or of a run by its run_id.
        step_sec: the pooled clock [s/step].
        time_to: time to target of a validation curve.
    """
    rows = []
    for arm, runs in arms.items():
        for run in sorted(runs, key=lambda run: (run.seed, run.run_id)):
            rows.append(
                _arm_time(arm, run, threshold, requested.get(run.run_id, requested.get(arm)), step_sec, time_to)
            )
    return rows


def _arm_time(
    arm: str, run: RunResult, threshold: float, requested: float | None, step_sec: float | None, time_to: TimeFunction
) -> ArmTime:
    usable = run.status == "ok" and len(run.val_curve) > 0
    time = time_to(run.val_curve, threshold) if usable else TimeToTarget()
    around = _evaluations_around(run, time) if usable else None
    step: float | None = None
    measured, interpolated = time.measured_sec, time.interpolated_sec
    if usable:
        last = run.val_curve[-1]
        step = time.interpolated_step if time.reached else float(last.step)
        if not time.reached:
            measured = interpolated = last.seconds
    return ArmTime(
        arm=arm,
        seed=run.seed,
        run_id=run.run_id,
        status=run.status,
        steps=run.steps,
        total_batch_size=run.total_batch_size,
        requested_ratio=requested,
        realised_ratio=run.realised_ratio,
        reached=time.reached,
        crossing_step=step,
        measured_sec=measured,
        interpolated_sec=interpolated,
        extrapolated_sec=time.extrapolated_sec,
        pooled_sec=None if step is None or step_sec is None else step * step_sec,
        grid_resolution_sec=None
        if around is None or step_sec is None
        else (around[1].step - around[0].step) * step_sec,
        min_val_bpb=run.min_val_bpb,
        measured_resolution_sec=None if around is None else around[1].seconds - around[0].seconds,
    )


def _evaluations_around(run: RunResult, time: TimeToTarget) -> tuple[ValidationPoint, ValidationPoint] | None:
    """The evaluations before and at the crossing; the run's start where the first one is below the threshold."""
    if time.measured_step is None:
        return None
    index = next(index for index, point in enumerate(run.val_curve) if point.step == time.measured_step)
    before = run.val_curve[index - 1] if index else ValidationPoint(0, 0.0, math.inf)
    return before, run.val_curve[index]
