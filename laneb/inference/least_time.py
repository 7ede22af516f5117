"""The horizon of least expected time to the threshold, and what it costs to be off it.

A longer horizon reaches the threshold more surely, and crosses it before its end; a shorter one has less to run, and
fails more often. Steps cost the same, so time is counted in tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laneb.inference.calibration import unfinished_reason
from laneb.inference.lane import Lane
from laneb.inference.reach import predict
from laneb.records.runs import RunResult

Floats = NDArray[np.float64]

OFF = (-0.05, -0.03, -0.01, 0.01, 0.03, 0.05)
"""Shares of the horizon by which a run may be off."""
GRID = 600
NODES = 64
SHARES = np.linspace(0.3, 1.0, 141)
"""Progress through a run at which its excess over its final loss is looked at."""


@dataclass(frozen=True)
class LeastTime:
    """The bottom of the basin."""

    tokens: float
    """Horizon."""
    expected: float
    """Expected training until the threshold, in tokens, runs that miss it and the runs after them included."""
    costs: tuple[tuple[float, float], ...]
    """(share off the horizon, expected time over the least one - 1)."""


def least_expected_time(lane: Lane, runs: Sequence[RunResult]) -> LeastTime | None:
    """The horizon whose run, repeated with a new seed until one reaches the threshold, takes the least on average.

    With F the final loss of a new run (`reach.predict`) and c(m) the progress at which a run is m above its own final
    loss, E(D) = (E[D c(threshold - F); F <= threshold] + D P(F > threshold)) / P(F <= threshold): a run that misses has
    cost its whole horizon. c is the mean over the runs, whatever their horizon: what a warmdown wins, and where in it,
    changes little between horizons that lie near each other.

    Args:
        lane: the finals' fit.
        runs: finished runs with their validation curves.

    Returns:
        None where no run has a curve, the finals do not measure how runs scatter, or the least lies at the end of what
        they speak of.
    """
    shape = excess_of(runs)
    if shape is None or not lane.levels.spreads_measured:
        return None
    limit = lane.extrapolation_limit
    grid = np.geomspace(lane.estimate.first / limit, lane.estimate.last * limit, GRID)
    time = expected_time(lane, shape, grid)
    best = int(np.argmin(time))
    if not 0 < best < len(grid) - 1:
        return None
    tokens = float(grid[best])
    off = expected_time(lane, shape, tokens * (1 + np.array(OFF)))
    costs = tuple(zip(OFF, (off / time[best] - 1).tolist(), strict=True))
    return LeastTime(tokens, float(time[best]), costs)


def expected_time(lane: Lane, shape: Floats, tokens: Floats) -> Floats:
    """Expected tokens until the threshold with runs of horizons `tokens` [g]; infinite where none reaches it.

    Args:
        lane: the finals' fit.
        shape: [141] excess over the final loss at `SHARES` of a run.
        tokens: [g].
    """
    from scipy.special import stdtr, stdtrit

    new, threshold = predict(lane, tokens), lane.target.threshold
    sd = np.maximum(np.sqrt(new.variance), 1e-300)
    reached = stdtr(new.freedom, (threshold - new.loss) / sd)
    # Equally likely final losses of the runs that reach it, which all lie at or below the threshold.
    share = reached[:, None] * (np.arange(NODES) + 0.5)[None, :] / NODES
    margin = threshold - new.loss[:, None] - sd[:, None] * stdtrit(new.freedom[:, None], share)
    progress = np.interp(margin, shape[::-1], SHARES[::-1]).mean(axis=1)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(tokens * (progress + (1 - reached) / reached))


def excess_of(runs: Sequence[RunResult]) -> Floats | None:
    """[141] how far a run is above its final loss at each of `SHARES`, the mean over finished runs; falling to 0."""
    curves = []
    for run in runs:
        if unfinished_reason(run) or len(run.val_curve) < 3:
            continue
        progress = [point.step / run.steps for point in run.val_curve]
        # The first crossing counts, so a bump that follows a lower loss does not.
        lowest = np.minimum.accumulate([point.bpb for point in run.val_curve])
        curves.append(np.interp(SHARES, progress, lowest - lowest[-1]))
    return np.mean(curves, axis=0) if curves else None
