"""The verdict: do candidates reach the threshold sooner than the baseline of the same seed, and how sure is it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from laneb.decision.arms import BASELINE, TimeFunction, arm_times, pooled_step_sec
from laneb.decision.evidence import (
    SIGNIFICANCE,
    Clock,
    Evidence,
    accept_reason,
    gather,
    rows_of,
    why_not_accept,
    why_reject,
)
from laneb.decision.paired import paired_differences, paired_test, seeds_needed
from laneb.decision.summary import summarize
from laneb.knobs import CandidateKnobs
from laneb.records.base import utc_now
from laneb.records.candidates import MODES, Mode
from laneb.records.runs import RunResult
from laneb.records.verdict import ArmTime, Decision, ModeVerdict, PairedTest, Verdict

__all__ = ["judge", "summarize"]

RATIO_TOLERANCE = 0.01


def judge(
    *,
    baselines: Sequence[RunResult],
    candidates: Mapping[Mode, Sequence[RunResult]],
    threshold: float,
    requested_ratios: Mapping[str, float] | None = None,
    knobs: CandidateKnobs | None = None,
) -> Verdict:
    """Baseline against each candidate mode at the same threshold, paired by seed.

    A run's time is where its own validation curve crosses the threshold, on a straight line between two evaluations;
    a run that does not reach it is censored at its end. Times are compared on the pooled-step clock (crossing step
    times the step time pooled over the arms) where all runs have one shape and batch, else on measured seconds.

    ACCEPT: every candidate reaches the threshold, every paired difference is a gain, the one-sided paired t test gives
    p < 0.05 (Holm-adjusted where several modes were tried), and the mean gain exceeds the resolution of the evaluation
    grid. REJECT: every paired difference is as surely a loss, or the candidates surely end above a threshold that every
    baseline reaches. Else INCONCLUSIVE, with the number of seeds that would settle it.

    Args:
        baselines: baseline runs.
        candidates: candidate runs by mode.
        threshold: validation bpb to reach.
        requested_ratios: requested ratio by run_id or by arm (`baseline` or the mode).
        knobs: how an unreached target is extrapolated, for the table only.

    Raises:
        ValueError: the threshold is not finite, or there is no candidate run.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold {threshold} is not a finite loss")
    modes = [mode for mode in MODES if candidates.get(mode)]
    if not modes:
        raise ValueError("there are no candidate runs to judge. Materialize candidate_runs, or run: laneb run")
    arms: dict[str, Sequence[RunResult]] = {BASELINE: _latest(baselines)}
    arms.update({mode: _latest(candidates[mode]) for mode in modes})
    step_sec = pooled_step_sec(arms)
    rows = arm_times(arms, threshold, requested_ratios or {}, step_sec, _time_function(knobs or CandidateKnobs()))
    one_shape = _one_shape(arms)
    clock: Clock = "pooled_step" if one_shape and step_sec is not None else "measured"
    tests = {mode: _tests(rows, mode) for mode in modes}
    adjusted = _holm({mode: _smaller_p(tests[mode][clock]) for mode in modes})
    verdicts = tuple(
        _judge_mode(
            mode,
            gather(
                mode, arms, rows, threshold=threshold, clock=clock, test=tests[mode][clock], p_adjusted=adjusted[mode]
            ),
            tests[mode],
            clock,
            adjusted[mode],
            len(modes),
        )
        for mode in modes
    )
    decision, mode, reasons = _overall(verdicts)
    return Verdict(
        timestamp_utc=utc_now(),
        decision=decision,
        mode=mode,
        reasons=reasons,
        threshold=threshold,
        pooled_step_sec=step_sec,
        modes=verdicts,
        arms=tuple(rows),
        warnings=tuple(_warnings(rows, verdicts, one_shape, step_sec)),
    )


def _time_function(knobs: CandidateKnobs) -> TimeFunction:
    from laneb.training.time_to_target import time_to_target

    return partial(
        time_to_target,
        method=knobs.time_to_target_extrapolation,
        power_law_min_points=knobs.time_to_target_power_law_min_points,
        power_law_max_points=knobs.time_to_target_power_law_max_points,
        power_law_fit_r2_min=knobs.time_to_target_power_law_fit_r2_min,
    )


def _latest(runs: Sequence[RunResult]) -> list[RunResult]:
    """One run per seed, the last given."""
    return list({run.seed: run for run in runs}.values())


def _one_shape(arms: Mapping[str, Sequence[RunResult]]) -> bool:
    kinds = {
        (run.total_batch_size, run.n_scaling_params, run.depth, run.max_seq_len)
        for runs in arms.values()
        for run in runs
    }
    return len(kinds) <= 1


def _tests(rows: Sequence[ArmTime], mode: Mode) -> dict[Clock, PairedTest]:
    differences = paired_differences(rows_of(rows, BASELINE), rows_of(rows, mode))
    return {"pooled_step": paired_test(differences, "pooled_step"), "measured": paired_test(differences, "measured")}


def _smaller_p(test: PairedTest) -> float | None:
    known = [p for p in (test.p_gain, test.p_loss) if p is not None]
    return min(known) if known else None


def _holm(p_values: Mapping[Mode, float | None]) -> dict[Mode, float | None]:
    """p values adjusted for the modes that were tried (Holm 1979)."""
    adjusted: dict[Mode, float | None] = dict.fromkeys(p_values)
    known = sorted((p, mode) for mode, p in p_values.items() if p is not None)
    running = 0.0
    for rank, (p, mode) in enumerate(known):
        running = max(running, min(1.0, p * (len(p_values) - rank)))
        adjusted[mode] = running
    return adjusted


def _judge_mode(
    mode: Mode,
    evidence: Evidence,
    tests: Mapping[Clock, PairedTest],
    clock: Clock,
    p_adjusted: float | None,
    modes: int,
) -> ModeVerdict:
    decision: Decision = "INCONCLUSIVE"
    reasons = why_not_accept(evidence)
    if not reasons:
        decision, reasons = "ACCEPT", [accept_reason(evidence)]
    elif rejection := why_reject(evidence):
        decision, reasons = "REJECT", [rejection]
    elif evidence.same_horizon:
        reasons = [evidence.same_horizon, *reasons]
    test = tests[clock]
    needed = seeds_needed(test, SIGNIFICANCE / modes) if decision == "INCONCLUSIVE" else None
    if needed is not None and needed > test.pairs:
        reasons = [*reasons, f"with this mean and spread, {needed} paired seeds would settle it with probability 0.8"]
    paired = {row.seed for row in evidence.differences}
    return ModeVerdict(
        mode=mode,
        decision=decision,
        reasons=tuple(reasons),
        differences=evidence.differences,
        pooled_test=tests["pooled_step"],
        measured_test=tests["measured"],
        deciding_clock=clock,
        p_adjusted=p_adjusted,
        grid_resolution_sec=evidence.resolution,
        seeds_needed=needed,
        unpaired_seeds=tuple(row.seed for row in evidence.candidate if row.seed not in paired),
    )


def _overall(verdicts: Sequence[ModeVerdict]) -> tuple[Decision, Mode, tuple[str, ...]]:
    """ACCEPT if a mode is accepted (the one that gains most), REJECT if all are rejected, else INCONCLUSIVE."""

    def gain(verdict: ModeVerdict) -> float:
        test = verdict.pooled_test if verdict.deciding_clock == "pooled_step" else verdict.measured_test
        return -math.inf if test.mean_gain_sec is None else test.mean_gain_sec

    accepted = [verdict for verdict in verdicts if verdict.decision == "ACCEPT"]
    pool = accepted or [verdict for verdict in verdicts if verdict.decision == "INCONCLUSIVE"] or list(verdicts)
    best = max(pool, key=gain)
    return best.decision, best.mode, tuple(f"{best.mode}: {reason}" for reason in best.reasons)


def _warnings(
    rows: Sequence[ArmTime], verdicts: Sequence[ModeVerdict], one_shape: bool, step_sec: float | None
) -> list[str]:
    found = []
    for row in rows:
        if row.requested_ratio is None or row.requested_ratio <= 0:
            continue
        off = row.realised_ratio / row.requested_ratio - 1
        if abs(off) > RATIO_TOLERANCE:
            found.append(
                f"{row.run_id}: requested ratio {row.requested_ratio:.4g}, realised {row.realised_ratio:.4g} "
                f"({off:+.1%}; {row.steps} steps of {row.total_batch_size:,} tokens)"
            )
    for row in rows:
        if row.status != "ok":
            found.append(f"{row.run_id} ({row.arm}, seed {row.seed}) is {row.status} and counts for nothing")
    for verdict in verdicts:
        if verdict.unpaired_seeds:
            seeds = ", ".join(str(seed) for seed in verdict.unpaired_seeds)
            found.append(
                f"{verdict.mode}: no finished baseline to pair with seed {seeds}; it has to reach the threshold but is "
                f"in no difference. Add it to LANE_B_BASELINE_SEEDS."
            )
        pooled, measured = verdict.pooled_test.mean_gain_sec, verdict.measured_test.mean_gain_sec
        if pooled is not None and measured is not None and pooled * measured < 0:
            found.append(
                f"{verdict.mode}: the clocks disagree: {pooled:+.2f} s on pooled steps, {measured:+.2f} s measured. "
                f"The machine was not equally fast for all runs."
            )
    if not one_shape:
        found.append("the arms differ in batch or shape, so steps do not compare: decided on measured seconds")
    elif step_sec is None:
        found.append("no run has a step time, so decided on measured seconds")
    return found
