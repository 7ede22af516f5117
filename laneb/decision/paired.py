"""Paired differences between baseline and candidate, and what they prove."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from laneb.records.verdict import ArmTime, PairedDifference, PairedTest

POWER = 0.8
MAX_SEEDS = 1000


def paired_differences(baseline: Sequence[ArmTime], candidate: Sequence[ArmTime]) -> tuple[PairedDifference, ...]:
    """Baseline minus candidate at each seed that has both, finished. Positive is a gain.

    A censored run enters with its end, which bounds the difference from one side: kept where that side is its own
    (a baseline that ends later than the candidate crosses has lost at least so much), else the difference is unknown.
    """
    by_seed = {row.seed: row for row in baseline if row.status == "ok" and row.crossing_step is not None}
    found = []
    for row in candidate:
        other = by_seed.get(row.seed)
        if other is None or row.status != "ok" or row.crossing_step is None:
            continue
        steps = other.crossing_step or 0.0
        known = other.reached or row.reached
        known = known and (other.reached or steps >= row.crossing_step) and (row.reached or row.crossing_step >= steps)
        pooled = _difference(other.pooled_sec, row.pooled_sec) if known else None
        measured = _difference(other.interpolated_sec, row.interpolated_sec) if known else None
        found.append(
            PairedDifference(
                seed=row.seed,
                pooled_sec=pooled,
                measured_sec=measured,
                relative=(steps - row.crossing_step) / steps if known and steps > 0 else None,
                baseline_censored=not other.reached,
                candidate_censored=not row.reached,
            )
        )
    return tuple(found)


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def paired_test(differences: Sequence[PairedDifference], clock: Literal["pooled_step", "measured"]) -> PairedTest:
    """Student's paired t test of a mean difference of 0, one-sided either way.

    Equal differences leave no spread: then p is 0 for the side that they all lie on, and unknown where all are 0.
    """
    values = [row.pooled_sec if clock == "pooled_step" else row.measured_sec for row in differences]
    seconds = np.array([value for value in values if value is not None], dtype=float)
    relative = [row.relative for row in differences if row.relative is not None]
    count = len(seconds)
    mean = float(seconds.mean()) if count else None
    sd = float(seconds.std(ddof=1)) if count > 1 else None
    t = p_gain = p_loss = None
    if mean is not None and sd is not None:
        if sd > 1e-12 * abs(mean):
            from scipy.stats import t as student

            t = mean / (sd / math.sqrt(count))
            p_gain, p_loss = float(student.sf(t, count - 1)), float(student.cdf(t, count - 1))
        elif mean != 0:
            p_gain, p_loss = (0.0, 1.0) if mean > 0 else (1.0, 0.0)
    return PairedTest(
        clock=clock,
        pairs=count,
        mean_gain_sec=mean,
        mean_gain_relative=float(np.mean(relative)) if relative and clock == "pooled_step" else None,
        sd_sec=sd,
        t=t,
        p_gain=p_gain,
        p_loss=p_loss,
    )


def seeds_needed(test: PairedTest, significance: float) -> int | None:
    """Pairs with which this mean and spread would be significant, one-sided, with probability 0.8.

    From the noncentral t distribution; None where no number up to 1,000 is enough or there is no spread to go by.
    """
    if test.mean_gain_sec is None or not test.sd_sec:
        return None
    from scipy.stats import nct
    from scipy.stats import t as student

    effect = abs(test.mean_gain_sec) / test.sd_sec
    for count in range(2, MAX_SEEDS + 1):
        limit = float(student.isf(significance, count - 1))
        power = float(nct.sf(limit, count - 1, effect * math.sqrt(count)))
        # Far out in its tail scipy's noncentral t returns NaN, where the power is 1.
        if not power < POWER:
            return count
    return None


def miss_p_value(misses: Sequence[float]) -> float | None:
    """One-sided p that runs end above the threshold on average, from how far each ends above it [bpb]."""
    if len(misses) < 2:
        return None
    values = np.array(misses, dtype=float)
    sd = float(values.std(ddof=1))
    if sd <= 1e-12 * abs(float(values.mean())):
        return 0.0 if values.mean() > 0 else 1.0
    from scipy.stats import t as student

    return float(student.sf(values.mean() / (sd / math.sqrt(len(values))), len(values) - 1))
