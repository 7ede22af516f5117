"""What is left to find out: how many seeds a verdict takes, whether a gain can still matter, and what it pays."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from laneb.decision.evidence import Evidence
from laneb.decision.looks import bonferroni_critical, spent_at
from laneb.decision.protocol import REFUTED
from laneb.records.runs import RunResult
from laneb.records.verdict import Bounds, Look, NetBenefit, Verdict

POWER = 0.8
MAX_SEEDS = 200
FUTURES = 2000


class Future(NamedTuple):
    """Draws of what will be known of a normal quantity at a number of pairs: mean and sd, [draws] each."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def t(self, count: int, floor: float = 0.0) -> NDArray[np.float64]:
        """The draws' t statistics of mean 0."""
        return np.asarray(self.mean / (np.maximum(self.sd, max(floor, 1e-300)) / math.sqrt(count)), dtype=np.float64)


def seeds_needed(evidence: Evidence, look: Look) -> int | None:
    """Seeds, those run counted, with which the next look ends in ACCEPT or REJECT with probability 0.8.

    The protocol played out: true mean and spread are drawn from what the pairs leave open (the posterior under no prior
    knowledge, Student's), then the seeds to come, then the verdict at the critical values that the looks so far leave.
    A mean and spread of three pairs are not taken for the truth, which would promise too little.

    Args:
        evidence: a mode's, with two pairs at least.
        look: this one.

    Returns:
        None where no number up to 200 is enough.
    """
    bounds = [row.bounds(evidence.clock) for row in evidence.differences]
    known = tuple(bound.low for bound in bounds if bound.low is not None)
    # A loss is shown on the upper bounds alone: where one is missing, none can be.
    highs = tuple(bound.high for bound in bounds if bound.high is not None)
    margins = tuple(evidence.threshold - row.min_val_bpb for row in evidence.candidate if row.min_val_bpb is not None)
    if len(known) < 2 or len(known) < len(bounds) or len(margins) < 2:
        return None
    looks = (*evidence.before, look)

    def settles(count: int) -> bool:
        gains, reach = _future(known, count, seed=1), _future(margins, count, seed=2)
        t, enough, grid = gains.t(count, evidence.floor), reach.t(count), evidence.resolution or 0.0
        increment = spent_at(count, looks) - look.spent
        missed, sure_miss = _reach_limits(count, evidence.reach.required_share, increment)
        settled = (t > bonferroni_critical(count, looks, 1.0)) & (gains.mean > grid) & (enough > missed)
        if len(highs) == len(bounds):
            losses = _future(highs, count, seed=1)
            sure = -losses.t(count, evidence.floor) > bonferroni_critical(count, looks, 0.5)
            settled |= sure & (-losses.mean > grid)
        if all(row.reached for row in evidence.baseline):
            settled |= enough < sure_miss
        return float(settled.mean()) >= POWER

    counts = _counts(max(len(known), len(margins)) + 1)
    # The more seeds, the more is settled, up to the draws' own noise.
    first = bisect.bisect_left(counts, True, key=settles)
    return counts[first] if first < len(counts) else None


def _counts(first: int) -> list[int]:
    """Numbers of pairs to try: each of the next ten, then in steps of a tenth."""
    counts = [first]
    while counts[-1] < MAX_SEEDS:
        counts.append(counts[-1] + (1 if len(counts) < 10 else max(1, counts[-1] // 10)))
    return counts


def _future(values: tuple[float, ...], count: int, *, seed: int) -> Future:
    draw = np.random.default_rng(seed)
    now, more = len(values), count - len(values)
    mean, squares = float(np.mean(values)), float(np.var(values)) * now
    sigma = np.sqrt(squares / draw.chisquare(now - 1, FUTURES))
    truth = mean + sigma / math.sqrt(now) * draw.standard_normal(FUTURES)
    new_mean = truth + sigma / math.sqrt(more) * draw.standard_normal(FUTURES)
    new_squares = sigma**2 * (draw.chisquare(more - 1, FUTURES) if more > 1 else 0.0)
    both = (now * mean + more * new_mean) / count
    total = squares + new_squares + now * (mean - both) ** 2 + more * (new_mean - both) ** 2
    return Future(both, np.sqrt(total / (count - 1)))


@lru_cache(maxsize=1024)
def _reach_limits(count: int, required_share: float, increment: float) -> tuple[float, float]:
    """t of the margins below which the required share is refuted, and below which the mode is rejected."""
    from scipy.stats import nct, norm

    shift = math.sqrt(count) * float(norm.ppf(required_share))
    return float(nct.ppf(REFUTED, count - 1, shift)), float(nct.ppf(increment / 2, count - 1, shift))


def gain_bounds(evidence: Evidence) -> Bounds:
    """Bounds of the mean relative gain that hold with 95 % each, over all looks (Jennison and Turnbull 1989)."""
    test, critical, baseline_sec = evidence.test, evidence.critical, evidence.baseline_sec
    if test.sd_sec is None or critical is None or not baseline_sec:
        return Bounds(None, None)
    half = critical * test.sd_sec / math.sqrt(test.pairs)
    low, high = test.mean_gain_sec, test.mean_high_sec
    return Bounds(
        None if low is None else (low - half) / baseline_sec, None if high is None else (high + half) / baseline_sec
    )


def net_benefit(
    verdict: Verdict, baselines: Sequence[RunResult], calibration: Sequence[RunResult]
) -> NetBenefit | None:
    """What the calibration runs cost, and how many further runs at the verdict's ratio pay for them.

    Cost and gain are counted on the clock that decided: where that is the pooled one, a step of a calibration run costs
    what a step of the arms does, so that a machine that was slow on one day moves neither against the other.

    A run that a baseline is too has cost nothing more. None without calibration runs, or without a mean gain.
    """
    judged = next((mode for mode in verdict.modes if mode.mode == verdict.mode), None)
    saved = None if judged is None else judged.deciding_test.mean_gain_sec
    have = {run.fingerprint for run in baselines}
    further = {run.fingerprint: run for run in calibration if run.fingerprint not in have}
    if judged is None or saved is None or not further:
        return None
    step_sec = verdict.pooled_step_sec if judged.deciding_clock == "pooled_step" else None
    cost = sum(
        (run.total_training_time_sec or 0.0) if step_sec is None else run.steps * step_sec for run in further.values()
    )
    return NetBenefit(
        calibration_sec=cost,
        saved_per_run_sec=saved,
        runs_to_pay=math.ceil(cost / saved) if saved > 0 else None,
        clock=judged.deciding_clock,
    )
