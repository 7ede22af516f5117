"""The protocol: what has to hold for a mode to be accepted, and for it to be rejected. docs/method.md states it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from laneb.decision.evidence import Evidence

REFUTED = 0.05
"""One-sided p below which the required share counts as not reached, when a mode is to be accepted."""


class Condition(NamedTuple):
    """A condition of ACCEPT: its name, and what it says of evidence that does not meet it (else empty)."""

    name: str
    failure: Callable[[Evidence], str]


def _finished(evidence: Evidence) -> str:
    failed = [row for row in evidence.candidate if row.status != "ok"]
    if not failed:
        return ""
    shown = ", ".join(f"seed {row.seed} {row.status}" for row in failed)
    return f"{len(failed)} of {len(evidence.candidate)} candidates did not finish ({shown}): train them again"


def _paired(evidence: Evidence) -> str:
    pairs = len(evidence.differences)
    if not pairs:
        return "no seed has both a finished baseline and a finished candidate, so nothing is paired"
    return "" if pairs > 1 else "1 paired difference has no spread to test against; a paired test takes two seeds"


def _reaching(evidence: Evidence) -> str:
    reach = evidence.reach
    refuted = reach.p_below is not None and reach.p_below < REFUTED
    if reach.reached and not refuted:
        return ""
    p = "" if reach.p_below is None else f", one-sided p {reach.p_below:.3g}"
    return (
        f"{reach.reached} of {reach.runs} candidates reach {evidence.threshold:.6g}, where a share of "
        f"{reach.required_share:g} is required{p}. {_misses(evidence)}".rstrip()
    )


def _misses(evidence: Evidence) -> str:
    missed = [
        f"seed {row.seed} by {row.min_val_bpb - evidence.threshold:.4g} bpb"
        for row in evidence.candidate
        if row.status == "ok" and not row.reached and row.min_val_bpb is not None
    ]
    return f"Above it end {', '.join(missed)}." if missed else ""


def _bounded(evidence: Evidence) -> str:
    bounds = [(row.seed, row.bounds(evidence.clock).low) for row in evidence.differences]
    open_seeds = ", ".join(str(seed) for seed, low in bounds if low is None)
    return (
        f"of seed {open_seeds} it is not known how late the threshold is reached: candidate and baseline end above it"
        if open_seeds
        else ""
    )


def _gaining(evidence: Evidence) -> str:
    test, critical, before = evidence.test, evidence.critical, evidence.accepted_before
    if test.mean_gain_sec is None or critical is None or (before is not None and test.mean_gain_sec > 0):
        return ""
    if test.t is None:
        return "the paired differences do not spread, and there is no evaluation grid to say how much they should"
    if test.t > critical:
        return ""
    return (
        f"the paired test does not show a gain: t {test.t:.3g} of {test.pairs} pairs (one-sided p {test.p_gain:.3g}), "
        f"{critical:.3g} is needed at this look"
    )


def _beyond_grid(evidence: Evidence) -> str:
    mean, resolution = evidence.test.mean_gain_sec, evidence.resolution
    if mean is None or resolution is None or not 0 < mean <= resolution:
        return ""
    return (
        f"the mean gain of {mean:.3g} s is within the evaluation grid's resolution of {resolution:.3g} s. Evaluate "
        f"more often (LANE_B_EVAL_EVERY_LATE)."
    )


def _in_turn(evidence: Evidence) -> str:
    return (
        f"{evidence.waits_for} is tested first and is not accepted (LANE_B_PRIMARY_MODE)" if evidence.waits_for else ""
    )


CONDITIONS = (
    Condition("finished", _finished),
    Condition("paired", _paired),
    Condition("reach", _reaching),
    Condition("bounded", _bounded),
    Condition("gain", _gaining),
    Condition("grid", _beyond_grid),
    Condition("order", _in_turn),
)
"""ACCEPT takes all of them."""


def why_not_accept(evidence: Evidence) -> list[str]:
    """Each condition of ACCEPT that fails, with its numbers; empty when all hold."""
    return [failure for condition in CONDITIONS if (failure := condition.failure(evidence))]


def accept_reason(evidence: Evidence) -> str:
    """The sentence of an ACCEPT."""
    test, reach, before = evidence.test, evidence.reach, evidence.accepted_before
    share = "" if test.mean_gain_relative is None else f", {test.mean_gain_relative:.1%}"
    resolution = "" if evidence.resolution is None else f"; the evaluation grid resolves {evidence.resolution:.3g} s"
    shown = (
        f"one-sided p {test.p_gain:.3g}"
        if before is None
        else f"shown at the look with {before.pairs} pairs, t {before.statistic:.3g}, and still a gain"
    )
    return (
        f"{reach.reached} of {reach.runs} candidates reach {evidence.threshold:.6g} (a share of "
        f"{reach.required_share:g} is required), and {test.pairs} paired by seed do so sooner than the baseline, by "
        f"{test.mean_gain_sec or 0.0:.3g} s on average{share} ({shown}{resolution})"
    )


def why_reject(evidence: Evidence) -> str:
    """The sentence of a REJECT; empty when neither the loss nor the misses are sure."""
    test, mean, reach = evidence.test, evidence.test.mean_high_sec, evidence.reach
    sure = test.t_loss is not None and evidence.critical_loss is not None and -test.t_loss > evidence.critical_loss
    if sure and mean is not None and (evidence.resolution is None or -mean > evidence.resolution):
        return (
            f"{test.pairs} candidates paired by seed are slower than the baseline, by {-mean:.3g} s on average at "
            f"least (one-sided p {test.p_loss:.3g})"
        )
    reference = evidence.baseline and all(row.reached for row in evidence.baseline)
    if reference and reach.runs > 1 and reach.p_below is not None and reach.p_below < evidence.level_of_miss:
        return (
            f"{reach.reached} of {reach.runs} candidates reach {evidence.threshold:.6g}, less than the share of "
            f"{reach.required_share:g} that is required (one-sided p {reach.p_below:.3g}), where every baseline "
            f"reaches it. {_misses(evidence)}"
        )
    return ""
