"""The verdict: do candidates reach the threshold sooner than the baseline of the same seed, and how sure is it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from laneb.decision.arms import BASELINE, TimeFunction, arm_times, pooled_step_sec
from laneb.decision.evidence import Evidence, Runs, gather
from laneb.decision.looks import LEVEL
from laneb.decision.outlook import gain_bounds, net_benefit, seeds_needed
from laneb.decision.protocol import accept_reason, why_not_accept, why_reject
from laneb.decision.summary import summarize
from laneb.knobs import CandidateKnobs
from laneb.records.base import utc_now
from laneb.records.candidates import MODES, Mode
from laneb.records.runs import RunResult
from laneb.records.verdict import ArmTime, Clock, Decision, Look, ModeVerdict, PairedTest, Verdict

__all__ = ["judge", "summarize"]

RATIO_TOLERANCE = 0.01


def judge(
    *,
    baselines: Sequence[RunResult],
    candidates: Mapping[Mode, Sequence[RunResult]],
    threshold: float,
    requested_ratios: Mapping[str, float] | None = None,
    knobs: CandidateKnobs | None = None,
    looks: Sequence[Look] = (),
    calibration: Sequence[RunResult] = (),
) -> Verdict:
    """Baseline against each candidate mode at the same threshold, paired by seed. docs/method.md states the protocol.

    A run's time is where its own validation curve crosses the threshold, on a straight line between two evaluations; a
    run that does not reach it bounds its time. Times are compared on the pooled-step clock (crossing step times the
    step time pooled over the arms) where all runs have one shape and batch, else on measured seconds.

    The primary mode is tested first, the other only once that is accepted. ACCEPT: enough candidates reach the
    threshold, the one-sided paired t test shows a gain at this look's critical value, and the mean gain exceeds the
    resolution of the evaluation grid. REJECT: a loss is as sure, or too few candidates reach a threshold that every
    baseline reaches. Else INCONCLUSIVE, with what fails and the seeds that would settle it. No more than 5 % of lanes
    without a gain are ever accepted, nor of those without a loss ever rejected, however often they are looked at.

    Args:
        baselines: baseline runs.
        candidates: candidate runs by mode.
        threshold: validation bpb to reach.
        requested_ratios: requested ratio by run_id or by arm (`baseline` or the mode).
        knobs: primary mode, required share, smallest gain; and how an unreached target is extrapolated, for the table.
        looks: earlier looks at this experiment, in order, as the warehouse keeps them.
        calibration: calibration runs, for what they cost.

    Raises:
        ValueError: the threshold is not finite, there is no candidate run, or the runs are of several recipes.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold {threshold} is not a finite loss")
    knobs = knobs or CandidateKnobs()
    modes = [mode for mode in _in_order(knobs.primary_mode) if candidates.get(mode)]
    if not modes:
        raise ValueError("there are no candidate runs to judge. Materialize candidate_runs, or run: laneb run")
    arms: dict[str, Sequence[RunResult]] = {BASELINE: _latest(baselines)}
    arms.update({mode: _latest(candidates[mode]) for mode in modes})
    unknown = _refuse_other_recipes(arms)
    step_sec = pooled_step_sec(arms)
    rows = arm_times(arms, threshold, requested_ratios or {}, step_sec, _time_function(knobs))
    clock: Clock = "pooled_step" if _one_shape(arms) and step_sec is not None else "measured"
    verdicts: list[ModeVerdict] = []
    for mode in modes:
        waits_for = verdicts[0].mode if verdicts and verdicts[0].decision != "ACCEPT" else None
        evidence = gather(
            mode, arms, rows, threshold=threshold, clock=clock, knobs=knobs, looks=looks, waits_for=waits_for
        )
        verdicts.append(_judge_mode(evidence, knobs))
    decision, mode, reasons = _overall(verdicts)
    verdict = Verdict(
        timestamp_utc=utc_now(),
        decision=decision,
        mode=mode,
        reasons=reasons,
        threshold=threshold,
        pooled_step_sec=step_sec,
        modes=tuple(verdicts),
        arms=tuple(rows),
        warnings=(*_warnings(rows, verdicts, _one_shape(arms), step_sec), *unknown),
    )
    return verdict.model_copy(update={"net_benefit": net_benefit(verdict, baselines, calibration)})


def _in_order(primary: Mode) -> list[Mode]:
    return sorted(MODES, key=lambda mode: (mode != primary, MODES.index(mode)))


def _refuse_other_recipes(arms: Runs) -> list[str]:
    """Runs of different recipes can't be compared; those that name none (imported ones) are warned of by name."""
    recipes = {run.recipe: run for runs in arms.values() for run in runs if run.recipe_known}
    if len(recipes) > 1:
        first, second = list(recipes.values())[:2]
        raise ValueError(
            f"{first.run_id} and {second.run_id} are runs of different recipes (text, shape, batch or rates), so that "
            f"their times do not compare: materialize baseline_runs and candidate_runs again, or run: laneb run"
        )
    without = [run.run_id for runs in arms.values() for run in runs if not run.recipe_known]
    if not recipes or not without:
        return []
    return [f"{', '.join(without)}: no recipe is known, so that it can't be checked whether they compare"]


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


def _one_shape(arms: Runs) -> bool:
    kinds = {
        (run.total_batch_size, run.n_scaling_params, run.depth, run.max_seq_len)
        for runs in arms.values()
        for run in runs
    }
    return len(kinds) <= 1


def _judge_mode(evidence: Evidence, knobs: CandidateKnobs) -> ModeVerdict:
    decision, reasons = _decide(evidence)
    pairs, tested = len(evidence.differences), evidence.critical is not None
    look = Look(
        timestamp_utc=utc_now(),
        question=evidence.question,
        mode=evidence.mode,
        threshold=evidence.threshold,
        seeds=tuple(row.seed for row in evidence.differences),
        pairs=pairs,
        statistic=evidence.test.t,
        critical=evidence.critical,
        spent=evidence.spent,
        decision=decision,
        runs=evidence.runs,
    )
    bounds = gain_bounds(evidence)
    equivalent = decision == "INCONCLUSIVE" and bounds.high is not None and bounds.high < knobs.smallest_gain
    needed = None
    settled = equivalent or evidence.same_horizon or evidence.waits_for
    if decision == "INCONCLUSIVE" and tested and not settled:
        needed = seeds_needed(evidence, look)
    return ModeVerdict(
        mode=evidence.mode,
        decision=decision,
        reasons=(*reasons, *_outlook(decision, needed, equivalent, knobs.smallest_gain)),
        differences=evidence.differences,
        pooled_test=evidence.tests["pooled_step"],
        measured_test=evidence.tests["measured"],
        deciding_clock=evidence.clock,
        p_adjusted=_smaller_p(evidence.test),
        grid_resolution_sec=evidence.resolution,
        seeds_needed=needed,
        unpaired_seeds=tuple(row.seed for row in evidence.candidate if row.seed not in look.seeds),
        reach=evidence.reach,
        look=look if tested else None,
        critical=evidence.critical,
        level_left=LEVEL - evidence.spent,
        gain_bounds=bounds,
        equivalent=equivalent,
    )


def _smaller_p(test: PairedTest) -> float | None:
    return min((p for p in (test.p_gain, test.p_loss) if p is not None), default=None)


def _decide(evidence: Evidence) -> tuple[Decision, list[str]]:
    failures = why_not_accept(evidence)
    if not failures:
        return "ACCEPT", [accept_reason(evidence)]
    if rejection := why_reject(evidence):
        return "REJECT", [rejection]
    return "INCONCLUSIVE", [evidence.same_horizon, *failures] if evidence.same_horizon else failures


def _outlook(decision: Decision, needed: int | None, equivalent: bool, smallest: float) -> list[str]:
    """What would settle an INCONCLUSIVE, or that nothing will."""
    if decision != "INCONCLUSIVE":
        return []
    if equivalent:
        return [f"any gain is below {smallest:.1%} with 95 % (LANE_B_SMALLEST_GAIN): more seeds will not change that"]
    if needed is None:
        return []
    return [f"by what these pairs leave open, {needed} seeds in all would settle it with probability 0.8"]


def _overall(verdicts: Sequence[ModeVerdict]) -> tuple[Decision, Mode, tuple[str, ...]]:
    """ACCEPT if the primary mode, which comes first, is accepted; REJECT if every mode is rejected.

    An ACCEPT names the mode that gains most of those that reach the threshold as often as the primary one: to gain a
    little more and to miss more often is no better.
    """

    def gain(verdict: ModeVerdict) -> float:
        mean = verdict.deciding_test.mean_gain_sec
        return -math.inf if mean is None else mean

    accepted = [verdict for verdict in verdicts if verdict.decision == "ACCEPT"]
    undecided = [verdict for verdict in verdicts if verdict.decision == "INCONCLUSIVE"]
    # Undecided or rejected, the first one speaks for the lane.
    named = (undecided or list(verdicts))[0]
    if accepted:
        named = max((verdict for verdict in accepted if _share(verdict) >= _share(accepted[0])), key=gain)
    return named.decision, named.mode, tuple(f"{named.mode}: {reason}" for reason in named.reasons)


def _share(verdict: ModeVerdict) -> float:
    return verdict.reach.reached / verdict.reach.runs if verdict.reach and verdict.reach.runs else 0.0


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
                f"{verdict.mode}: no finished baseline with a curve to pair with seed {seeds}; it has to reach the "
                f"threshold but is in no difference. Add a seed that is none of LANE_B_BASELINE_SEEDS there; "
                f"an imported one that is lacks its log: put it beside its results.csv."
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
