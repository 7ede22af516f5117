"""What the runs of one candidate mode say against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from laneb.decision.arms import BASELINE
from laneb.decision.looks import bonferroni_critical, critical_at, looks_before, spent_at, spent_before
from laneb.decision.paired import grid_resolution, grid_sd, paired_differences, paired_test
from laneb.decision.reach import reach_of
from laneb.knobs import CandidateKnobs
from laneb.records.base import canonical_hash
from laneb.records.candidates import Mode
from laneb.records.runs import RunResult
from laneb.records.verdict import ArmTime, Clock, Look, PairedDifference, PairedTest, Reach

CLOCKS: tuple[Clock, ...] = ("pooled_step", "measured")
Runs = Mapping[str, Sequence[RunResult]]


@dataclass(frozen=True)
class Evidence:
    """One mode against the baseline, on the deciding clock, at one look."""

    mode: Mode
    clock: Clock
    threshold: float
    baseline: tuple[ArmTime, ...]
    candidate: tuple[ArmTime, ...]
    differences: tuple[PairedDifference, ...]
    tests: Mapping[Clock, PairedTest]
    baseline_sec: float | None
    """Mean time to target of the paired baselines [s]."""
    floor: float
    """Least spread of a difference: the evaluation grid's [s]."""
    resolution: float | None
    """The widest pair of evaluations around a crossing [s]."""
    reach: Reach
    question: str
    runs: tuple[str, ...]
    """Fingerprints of the paired runs, sorted."""
    before: tuple[Look, ...]
    """Earlier looks at the question."""
    spent: float
    """Of the level, by this look and all before it."""
    critical: float | None
    """What t has to exceed for a gain; None with fewer than two pairs."""
    critical_loss: float | None
    """What -t has to exceed for a loss."""
    waits_for: Mode | None
    """The mode that has to be accepted first and was not."""
    same_horizon: str
    """Says so where candidate and baseline trained for the same steps; else empty."""

    @property
    def test(self) -> PairedTest:
        """The test on the deciding clock."""
        return self.tests[self.clock]

    @property
    def level_of_miss(self) -> float:
        """p of the share that reaches below which the mode is rejected: half of what this look may spend."""
        return (self.spent - spent_before(self.before)) / 2

    @property
    def accepted_before(self) -> Look | None:
        """The look at which it was accepted, if it was: what was shown once need not be shown again."""
        return next((look for look in self.before if look.decision == "ACCEPT"), None)


def gather(
    mode: Mode,
    arms: Runs,
    rows: Sequence[ArmTime],
    *,
    threshold: float,
    clock: Clock,
    knobs: CandidateKnobs,
    looks: Sequence[Look] = (),
    waits_for: Mode | None = None,
) -> Evidence:
    """The evidence on a mode, from all arms' runs and their times, and what this look at it may spend."""
    baseline = tuple(row for row in rows if row.arm == BASELINE)
    candidate = tuple(row for row in rows if row.arm == mode)
    differences = paired_differences(baseline, candidate, threshold)
    seeds = {row.seed for row in differences}
    paired = [row for row in baseline if row.seed in seeds]
    floors = {each: grid_sd(baseline, candidate, each) for each in CLOCKS}
    times = {each: _mean_time(paired, each) for each in CLOCKS}
    question = canonical_hash(sorted({run.recipe for runs in arms.values() for run in runs if run.recipe_known}))
    runs = tuple(sorted(run.fingerprint for arm in (BASELINE, mode) for run in arms[arm] if run.seed in seeds))
    before = looks_before(looks, mode=mode, question=question, threshold=threshold, runs=runs)
    pairs = len(differences)
    tested = pairs > 1
    return Evidence(
        mode=mode,
        clock=clock,
        threshold=threshold,
        baseline=baseline,
        candidate=candidate,
        differences=differences,
        tests={each: paired_test(differences, each, floor=floors[each], baseline_sec=times[each]) for each in CLOCKS},
        baseline_sec=times[clock],
        floor=floors[clock],
        resolution=grid_resolution([*baseline, *candidate], clock),
        reach=reach_of(candidate, threshold, knobs.required_reach),
        question=question,
        runs=runs,
        before=before,
        spent=spent_at(pairs, before) if tested else spent_before(before),
        critical=critical_at(pairs, before, threshold=threshold, runs=runs) if tested else None,
        critical_loss=bonferroni_critical(pairs, before, 0.5) if tested else None,
        waits_for=waits_for,
        same_horizon=_same_horizon(mode, arms),
    )


def _mean_time(rows: Sequence[ArmTime], clock: Clock) -> float | None:
    times = [row.pooled_sec if clock == "pooled_step" else row.interpolated_sec for row in rows]
    known = [time for time in times if time is not None]
    return sum(known) / len(known) if known else None


def _same_horizon(mode: Mode, arms: Runs) -> str:
    """The sentence on a mode that trains as long as the baseline; empty where it does not."""
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
