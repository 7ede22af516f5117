"""Time to target: the training time at which a validation curve falls to a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from laneb.records.runs import ValidationPoint

Method = Literal["linear_recent_eval", "power_law_recent_eval"]
METHODS: tuple[Method, ...] = ("linear_recent_eval", "power_law_recent_eval")
LINEAR_POINTS = 3

# Outside these a power law is a logarithm or a step, and the data of a few evaluations can't tell.
ALPHA_RANGE = (0.01, 4.0)


@dataclass(frozen=True)
class TimeToTarget:
    """When a run reaches a threshold, or why that can't be said.

    Attributes:
        measured_sec: training time at the first evaluation at or below the threshold [s].
        measured_step: step of that evaluation.
        interpolated_sec: crossing on the straight line from the evaluation before [s].
        interpolated_step: its step, fractional.
        extrapolated_sec: where the recent trend would reach the threshold, of a run that did not [s]. No run can
            realise it once its schedule has ended: never rank it above a measured time.
        method: how it was extrapolated; None for a run that reached the threshold.
        reason: why there is no time, one of the reasons of docs/formats.md; None when there is one.
    """

    measured_sec: float | None = None
    measured_step: int | None = None
    interpolated_sec: float | None = None
    interpolated_step: float | None = None
    extrapolated_sec: float | None = None
    method: str | None = None
    reason: str | None = None

    @property
    def reached(self) -> bool:
        """Whether an evaluation was at or below the threshold."""
        return self.measured_step is not None


def time_to_target(
    val_curve: Sequence[ValidationPoint],
    threshold: float,
    *,
    method: Method = "linear_recent_eval",
    power_law_min_points: int = 3,
    power_law_max_points: int = 5,
    power_law_fit_r2_min: float = 0.0,
    power_law_alpha: float | None = None,
) -> TimeToTarget:
    """Time at which a validation curve first is at or below a threshold; extrapolated where it never is.

    `linear_recent_eval`: with s the least-squares slope of bpb on time over the last 2 or 3 points and (t, b) the last
    one, `t + (threshold - b) / s`. `power_law_recent_eval`: `L_inf + A t^-alpha` by least squares over the last 3 to 5
    points with t > 0, solved for the threshold.

    Args:
        val_curve: evaluations in order of step; points that are not finite are passed over.
        threshold: loss to reach [bpb].
        method: how to extrapolate.
        power_law_min_points: points with t > 0 that the power law needs, at least 3.
        power_law_max_points: latest points that it uses.
        power_law_fit_r2_min: smallest R^2 of the fit that gives a time.
        power_law_alpha: a fixed exponent; None fits it too.

    Returns:
        The measured and interpolated crossing, or the extrapolated time, or the reason for none.

    Raises:
        ValueError: the threshold is not finite or the method is unknown.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold {threshold}: has to be a finite number of bits per byte")
    if method not in METHODS:
        raise ValueError(f"extrapolation method {method!r}: one of {', '.join(METHODS)}")
    curve = [point for point in map(ValidationPoint._make, val_curve) if all(map(math.isfinite, point))]
    crossing = next((index for index, point in enumerate(curve) if point.bpb <= threshold), None)
    if crossing is not None:
        return _crossed(curve, crossing, threshold)
    if method == "linear_recent_eval":
        outcome = _linear(curve, threshold)
    else:
        outcome = _power_law(
            curve, threshold, power_law_min_points, power_law_max_points, power_law_fit_r2_min, power_law_alpha
        )
    if isinstance(outcome, str):
        return TimeToTarget(method=method, reason=outcome)
    return TimeToTarget(extrapolated_sec=outcome, method=method)


def _crossed(curve: Sequence[ValidationPoint], index: int, threshold: float) -> TimeToTarget:
    at = curve[index]
    if index == 0:
        return TimeToTarget(at.seconds, at.step, at.seconds, float(at.step))
    before = curve[index - 1]
    share = (before.bpb - threshold) / (before.bpb - at.bpb)
    return TimeToTarget(
        measured_sec=at.seconds,
        measured_step=at.step,
        interpolated_sec=before.seconds + share * (at.seconds - before.seconds),
        interpolated_step=before.step + share * (at.step - before.step),
    )


@dataclass(frozen=True)
class _Line:
    intercept: float
    slope: float
    r2: float


def _fit_line(x: Sequence[float], y: Sequence[float]) -> _Line | None:
    """Least-squares line, or None when x (almost) does not vary or the sums leave the range of numbers."""
    try:
        mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
        spread = math.fsum((value - mean_x) ** 2 for value in x)
        if spread <= len(x) * (1e-12 * max(map(abs, x))) ** 2:
            return None
        slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
        intercept = mean_y - slope * mean_x
        total = math.fsum((b - mean_y) ** 2 for b in y)
        residual = math.fsum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    # fsum calls infinity minus infinity a ValueError.
    except (OverflowError, ValueError):
        return None
    line = _Line(intercept, slope, 1.0 - residual / total if total > 0 else 1.0)
    return line if all(map(math.isfinite, (intercept, slope, line.r2))) else None


def _linear(curve: Sequence[ValidationPoint], threshold: float) -> float | str:
    recent = curve[-LINEAR_POINTS:]
    if len(recent) < 2:
        return "insufficient_points"
    line = _fit_line([point.seconds for point in recent], [point.bpb for point in recent])
    if line is None:
        return "degenerate_time_axis"
    # A slope so flat that the target time overflows improves on no scale that matters.
    if line.slope >= 0 or not math.isfinite((threshold - recent[-1].bpb) / line.slope):
        return "non_improving_slope"
    target = recent[-1].seconds + (threshold - recent[-1].bpb) / line.slope
    return target if target >= recent[-1].seconds else "target_crossed_in_past"


def _power_law(
    curve: Sequence[ValidationPoint],
    threshold: float,
    min_points: int,
    max_points: int,
    r2_min: float,
    alpha: float | None,
) -> float | str:
    if alpha is not None and not (math.isfinite(alpha) and alpha > 0):
        return "invalid_alpha"
    if min_points < 3 or max_points < min_points:
        return "invalid_point_window"
    if len(curve) < min_points:
        return "insufficient_points"
    recent = [point for point in curve if point.seconds > 0][-max_points:]
    if len(recent) < min_points:
        return "insufficient_positive_time_points"
    last = recent[-1].seconds
    # Times in units of the last one keep t^-alpha near 1, whatever the length of the run.
    times = [point.seconds / last for point in recent]
    losses = [point.bpb for point in recent]
    exponent = alpha if alpha is not None else _best_exponent(times, losses)
    line = _fit_power(times, losses, exponent)
    if line is None:
        return "degenerate_feature_axis"
    return _solve_power_law(line, exponent, threshold, r2_min, last)


def _solve_power_law(line: _Line, exponent: float, threshold: float, r2_min: float, last: float) -> float | str:
    """Time [s] at which `intercept + slope * (t / last)^-exponent` is the threshold."""
    if line.slope <= 0:
        return "non_positive_power_coeff"
    if line.r2 < r2_min:
        return "low_power_law_fit_r2"
    if threshold <= line.intercept:
        return "threshold_not_above_asymptote"
    ratio = line.slope / (threshold - line.intercept)
    if not ratio > 0:
        return "non_positive_ratio_inside_power"
    try:
        target = last * ratio ** (1.0 / exponent)
    except OverflowError:
        return "non_finite_target_time"
    if not math.isfinite(target):
        return "non_finite_target_time"
    return target if target >= last else "target_crossed_in_past"


def _fit_power(times: Sequence[float], losses: Sequence[float], exponent: float) -> _Line | None:
    """Line of loss on time^-exponent, or None when that does not vary, or varies beyond all numbers."""
    try:
        return _fit_line([time**-exponent for time in times], losses)
    except (OverflowError, ZeroDivisionError):
        return None


def _best_exponent(times: Sequence[float], losses: Sequence[float]) -> float:
    """The exponent in ALPHA_RANGE whose best line of loss on t^-alpha leaves the least residual."""
    import numpy as np

    from laneb.statistics.projection import FREE, Projection

    return Projection(np.array(times), np.array(losses), offset=FREE).best(np.geomspace(*ALPHA_RANGE, 41))
