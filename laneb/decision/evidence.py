"""What the runs of one candidate mode say against the baseline, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from laneb.decision.arms import BASELINE
from laneb.decision.paired import miss_p_value, paired_differences
from laneb.records.candidates import Mode
from laneb.records.runs import RunResult
from laneb.records.verdict import ArmTime, PairedDifference, PairedTest

SIGNIFICANCE = 0.05
Clock = Literal["pooled_step", "measured"]


@dataclass(frozen=True)
class Evidence:
    """One mode against the baseline."""

    mode: Mode
    threshold: float
    baseline: tuple[ArmTime, ...]
    candidate: tuple[ArmTime, ...]
    differences: tuple[PairedDifference, ...]
    gains: tuple[float | None, ...]
    """Seconds on the deciding clock, in the order of `differences`; None where censoring leaves it unknown."""
    test: PairedTest
    p_adjusted: float | None
    resolution: float | None
    """The widest pair of evaluations around a crossing, on the deciding clock [s]."""
    same_horizon: str
    """Says so where candidate and baseline trained for the same steps; else empty."""


def gather(
    mode: Mode,
    arms: Mapping[str, Sequence[RunResult]],
    rows: Sequence[ArmTime],
    *,
    threshold: float,
    clock: Clock,
    test: PairedTest,
    p_adjusted: float | None,
) -> Evidence:
    """The evidence on a mode from all arms' runs and times."""
    baseline, candidate = rows_of(rows, BASELINE), rows_of(rows, mode)
    differences = paired_differences(baseline, candidate)
    resolutions = [row.grid_resolution_sec for row in [*baseline, *candidate] if row.grid_resolution_sec is not None]
    return Evidence(
        mode=mode,
        threshold=threshold,
        baseline=tuple(baseline),
        candidate=tuple(candidate),
        differences=differences,
        gains=tuple(row.pooled_sec if clock == "pooled_step" else row.measured_sec for row in differences),
        test=test,
        p_adjusted=p_adjusted,
        resolution=max(resolutions, default=None),
        same_horizon=_same_horizon(mode, arms),
    )


def rows_of(rows: Sequence[ArmTime], arm: str) -> list[ArmTime]:
    """The rows of one arm."""
    return [row for row in rows if row.arm == arm]


def _same_horizon(mode: Mode, arms: Mapping[str, Sequence[RunResult]]) -> str:
    baselines = {run.seed: run for run in arms[BASELINE]}
    same = [run for run in arms[mode] if run.seed in baselines and run.tokens == baselines[run.seed].tokens]
    if not same:
        return ""
    identical = all(run.fingerprint == baselines[run.seed].fingerprint for run in same)
    runs = "the very same runs" if identical else "runs of equal length"
    seeds = ", ".join(str(run.seed) for run in same)
    return (
        f"candidate and baseline have the same realised horizon, {same[0].steps} steps (seed {seeds}): {runs}, so "
        f"there is no difference to find. A larger LANE_B_THRESHOLD_OFFSET asks for less and gives a shorter horizon."
    )


def why_not_accept(evidence: Evidence) -> list[str]:
    """Each condition of ACCEPT that fails, with its numbers; empty when all hold."""
    found = []
    missed = [row for row in evidence.candidate if not row.reached]
    if missed:
        shown = ", ".join(_miss(row, evidence.threshold) for row in missed)
        found.append(
            f"{len(missed)} of {len(evidence.candidate)} candidates do not reach {evidence.threshold:.6g} ({shown})"
        )
    if not evidence.differences:
        return [*found, "no seed has both a finished baseline and a finished candidate, so nothing is paired"]
    not_gained = [
        row for row, gain in zip(evidence.differences, evidence.gains, strict=True) if gain is None or gain <= 0
    ]
    if not_gained:
        seeds = ", ".join(str(row.seed) for row in not_gained)
        found.append(f"{len(not_gained)} of {len(evidence.differences)} paired differences are no gain (seed {seeds})")
    test, p = evidence.test, evidence.p_adjusted
    if test.p_gain is None:
        found.append(
            f"{test.pairs} paired difference(s) without spread to test against; a paired test takes two that differ"
        )
    elif p is None or not (p < SIGNIFICANCE and test.p_gain < 0.5):
        found.append(
            f"the paired test does not show a gain (one-sided p {test.p_gain:.3g}, {SIGNIFICANCE:g} is needed)"
        )
    if (
        evidence.resolution is not None
        and test.mean_gain_sec is not None
        and 0 < test.mean_gain_sec <= evidence.resolution
    ):
        found.append(
            f"the mean gain of {test.mean_gain_sec:.3g} s is within the evaluation grid's resolution of "
            f"{evidence.resolution:.3g} s. Evaluate more often (LANE_B_EVAL_EVERY_LATE)."
        )
    return found


def _miss(row: ArmTime, threshold: float) -> str:
    if row.status != "ok" or row.min_val_bpb is None:
        return f"seed {row.seed} {row.status}"
    return f"seed {row.seed} by {row.min_val_bpb - threshold:.4g} bpb"


def accept_reason(evidence: Evidence) -> str:
    """The sentence of an ACCEPT."""
    test = evidence.test
    share = "" if test.mean_gain_relative is None else f", {test.mean_gain_relative:.1%}"
    resolution = "" if evidence.resolution is None else f"; the evaluation grid resolves {evidence.resolution:.3g} s"
    return (
        f"all {len(evidence.candidate)} candidates reach {evidence.threshold:.6g}, {test.pairs} of {test.pairs} paired "
        f"by seed do so sooner than the baseline, by {test.mean_gain_sec or 0.0:.3g} s on average{share} "
        f"(one-sided p {evidence.p_adjusted or 0.0:.3g}{resolution})"
    )


def why_reject(evidence: Evidence) -> str:
    """The sentence of a REJECT; empty when the loss is not sure."""
    test, p = evidence.test, evidence.p_adjusted
    losses = [gain for gain in evidence.gains if gain is not None and gain < 0]
    all_lose = bool(evidence.gains) and len(losses) == len(evidence.gains)
    beyond_grid = evidence.resolution is None or -(test.mean_gain_sec or 0.0) > evidence.resolution
    if (
        all_lose
        and test.p_loss is not None
        and test.p_loss < 0.5
        and p is not None
        and p < SIGNIFICANCE
        and beyond_grid
    ):
        return (
            f"all {test.pairs} paired differences are a loss, {-(test.mean_gain_sec or 0.0):.3g} s on average "
            f"(one-sided p {p:.3g})"
        )
    misses = [
        row.min_val_bpb - evidence.threshold
        for row in evidence.candidate
        if row.status == "ok" and not row.reached and row.min_val_bpb is not None
    ]
    if len(misses) == len(evidence.candidate) and all(row.reached for row in evidence.baseline) and evidence.baseline:
        p_miss = miss_p_value(misses)
        if p_miss is not None and p_miss < SIGNIFICANCE:
            return (
                f"no candidate reaches {evidence.threshold:.6g}: they end {sum(misses) / len(misses):.4g} bpb above it "
                f"on average (one-sided p {p_miss:.3g}), where every baseline reaches it"
            )
    return ""
