"""Paired differences between baseline and candidate, what bounds them where a run is censored, and what they prove."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from laneb.records.verdict import ArmTime, Bounds, Clock, PairedDifference, PairedTest


def paired_differences(
    baseline: Sequence[ArmTime], candidate: Sequence[ArmTime], threshold: float
) -> tuple[PairedDifference, ...]:
    """Baseline minus candidate at each seed that has both, finished. Positive is a gain.

    A run that does not reach the threshold bounds its time from below by its end. A candidate that misses it is
    bounded from above as well, by `latest_step`; so every difference lies between bounds, equal where both reach.
    Each clock has its own: which run ends first can differ between them.

    Args:
        baseline, candidate: the arms' rows.
        threshold: loss to reach [bpb].
    """
    by_seed = {row.seed: row for row in baseline if row.status == "ok" and row.crossing_step is not None}
    found = []
    for row in candidate:
        other = by_seed.get(row.seed)
        if other is None or row.status != "ok" or row.crossing_step is None:
            continue
        exact = other.reached and row.reached
        steps = other.crossing_step or 0.0
        pooled = _bounds(other, row, other.pooled_sec, row.pooled_sec, threshold)
        measured = _bounds(other, row, other.interpolated_sec, row.interpolated_sec, threshold)
        found.append(
            PairedDifference(
                seed=row.seed,
                pooled_sec=_known(pooled, other, row),
                measured_sec=_known(measured, other, row),
                relative=(steps - row.crossing_step) / steps if exact and steps > 0 else None,
                baseline_censored=not other.reached,
                candidate_censored=not row.reached,
                pooled_bounds=pooled,
                measured_bounds=measured,
            )
        )
    return tuple(found)


def _bounds(
    baseline: ArmTime, candidate: ArmTime, first: float | None, second: float | None, threshold: float
) -> Bounds:
    """Bounds of a difference of times [s], from the times of the runs: those at which they cross, or end."""
    if first is None or second is None:
        return Bounds(None, None)
    high = first - second if baseline.reached else None
    if candidate.reached:
        return Bounds(first - second, high)
    latest = latest_step(baseline, candidate, threshold)
    return Bounds(None if latest is None else first - second * latest / candidate.steps, high)


def _known(bounds: Bounds, baseline: ArmTime, candidate: ArmTime) -> float | None:
    """The difference where it is one; else the bound that says who was faster, if one does."""
    if baseline.reached and candidate.reached:
        return bounds.low
    if candidate.reached and bounds.low is not None and bounds.low >= 0:
        return bounds.low
    return bounds.high if baseline.reached and bounds.high is not None and bounds.high <= 0 else None


def latest_step(baseline: ArmTime, candidate: ArmTime, threshold: float) -> float | None:
    """Horizon by which a finished run of the seed reaches the threshold, where its candidate missed it [steps].

    D = D_c (D_b / D_c) ** ((L_c - threshold) / (L_c - L_b)): where the straight line in log D between the finals of
    candidate and baseline crosses the threshold. Loss is convex in log D, so the line lies above it and D is late: a
    bound from above. None where the two finals do not lie on both sides of the threshold, the longer run below.
    """
    short, long = (row.steps * row.total_batch_size for row in (candidate, baseline))
    above, below = candidate.min_val_bpb, baseline.min_val_bpb
    if above is None or below is None or not (below <= threshold < above and long > short):
        return None
    return candidate.steps * float((long / short) ** ((above - threshold) / (above - below)))


def grid_resolution(rows: Sequence[ArmTime], clock: Clock) -> float | None:
    """The widest pair of evaluations around a crossing, on a clock [s]; None where nothing crosses."""
    return max((width for row in rows if (width := _width(row, clock)) is not None), default=None)


def grid_sd(baseline: Sequence[ArmTime], candidate: Sequence[ArmTime], clock: Clock) -> float:
    """Spread that the evaluation grid alone gives a difference [s].

    A crossing lies anywhere between two evaluations w apart: sd w / sqrt(12). Of a difference, both arms' together.
    """
    variance = 0.0
    for rows in (baseline, candidate):
        squares = [width**2 / 12 for row in rows if (width := _width(row, clock)) is not None]
        variance += sum(squares) / len(squares) if squares else 0.0
    return math.sqrt(variance)


def _width(row: ArmTime, clock: Clock) -> float | None:
    return row.grid_resolution_sec if clock == "pooled_step" else row.measured_resolution_sec


def paired_test(
    differences: Sequence[PairedDifference], clock: Clock, *, floor: float = 0.0, baseline_sec: float | None = None
) -> PairedTest:
    """Student's paired t test of a mean difference of 0, one-sided either way.

    A gain is tested on the lower bounds of the differences, a loss on the upper ones. Differences that happen to
    spread less than their grid can tell are taken to spread as much as it: else equal ones would prove anything.

    Args:
        differences: the pairs.
        clock: whose seconds count.
        floor: least spread of a difference [s], see `grid_sd`.
        baseline_sec: the baselines' mean time, to which the relative gain refers [s].

    >>> rows = [PairedDifference(seed=seed, pooled_sec=gain, measured_sec=gain, relative=None, baseline_censored=False,
    ...                          candidate_censored=False, pooled_bounds=Bounds(gain, gain))
    ...         for seed, gain in ((41, 4.0), (42, 3.0), (43, 5.0))]
    >>> test = paired_test(rows, "pooled_step", baseline_sec=20.0)
    >>> round(test.t, 2), round(test.p_gain, 4), test.mean_gain_relative
    (6.93, 0.0101, 0.2)
    """
    bounds = [row.bounds(clock) for row in differences]
    gain = _one_sided([bound.low for bound in bounds], floor)
    loss = _one_sided([bound.high for bound in bounds], floor)
    return PairedTest(
        clock=clock,
        pairs=len(bounds),
        mean_gain_sec=gain.mean,
        mean_gain_relative=None if gain.mean is None or not baseline_sec else gain.mean / baseline_sec,
        sd_sec=gain.sd if gain.sd is not None else loss.sd,
        t=gain.t,
        p_gain=_upper_tail(gain.t, len(bounds)),
        p_loss=_upper_tail(None if loss.t is None else -loss.t, len(bounds)),
        t_loss=loss.t,
        mean_high_sec=loss.mean,
    )


class _Side(NamedTuple):
    """One side's bounds: None where one is missing, or where they do not spread."""

    mean: float | None = None
    sd: float | None = None
    t: float | None = None


def _one_sided(values: Sequence[float | None], floor: float) -> _Side:
    known = np.array([value for value in values if value is not None], dtype=float)
    if len(known) < len(values) or not len(known):
        return _Side()
    mean = float(known.mean())
    if len(known) == 1:
        return _Side(mean)
    sd = max(floor, float(known.std(ddof=1)))
    # Equal values differ by rounding.
    return _Side(mean, sd, mean / (sd / math.sqrt(len(known))) if sd > 1e-12 * abs(mean) else None)


def _upper_tail(t: float | None, pairs: int) -> float | None:
    if t is None:
        return None
    from scipy.stats import t as student

    return float(student.sf(t, pairs - 1))
