"""The summary of the schema rows, and the verdict on each candidate mode against the baseline."""

from __future__ import annotations

from typing import Literal, NamedTuple

from laneb.records.base import Record
from laneb.records.candidates import Mode

Decision = Literal["ACCEPT", "REJECT", "INCONCLUSIVE"]


class SeedWinner(Record):
    """A seed's winner: a mode, or `tie_or_missing`."""

    seed: int
    winner: str
    time_sec: float | None
    extrapolated: bool
    """The winner never reached the target: its time is one that no run realised."""


class Summary(Record):
    """Winner per seed, tally and the recommended `lane_b_decision`, from the rows of the schema table."""

    winners: tuple[SeedWinner, ...]
    tally: dict[str, int]
    recommended_lane_b_decision: Mode
    not_ok_runs: tuple[str, ...]
    """`run_id: status` of the runs that were counted but not ranked."""


class ArmTime(Record):
    """One run's time to the threshold."""

    arm: str
    seed: int
    run_id: str
    status: str
    steps: int
    total_batch_size: int
    requested_ratio: float | None
    realised_ratio: float
    reached: bool
    """False: censored at the run's end, whose step and seconds then stand below."""
    crossing_step: float | None
    measured_sec: float | None
    """At the first evaluation at or below the threshold."""
    interpolated_sec: float | None
    extrapolated_sec: float | None
    pooled_sec: float | None
    """Crossing step times the step time pooled over all arms."""
    grid_resolution_sec: float | None
    """Distance of the two evaluations around the crossing, on the pooled clock."""
    min_val_bpb: float | None
    measured_resolution_sec: float | None = None
    """The same distance, in the run's own measured seconds."""


Clock = Literal["pooled_step", "measured"]


class Bounds(NamedTuple):
    """What is known of a difference [s] or of a share; None where it is not bounded on a side."""

    low: float | None
    high: float | None


class PairedDifference(Record):
    """Baseline minus candidate at one seed: positive is a gain."""

    seed: int
    pooled_sec: float | None
    """On the pooled clock. Where a run is censored: the bound that tells who was faster, or None where none does."""
    measured_sec: float | None
    relative: float | None
    """Of the baseline's pooled time."""
    baseline_censored: bool
    candidate_censored: bool
    pooled_bounds: Bounds = Bounds(None, None)
    measured_bounds: Bounds = Bounds(None, None)

    def bounds(self, clock: Clock) -> Bounds:
        """What is known of the difference on a clock [s]."""
        return self.pooled_bounds if clock == "pooled_step" else self.measured_bounds


class PairedTest(Record):
    """A paired t test of mean difference 0. A gain is tested on the lower bounds, a loss on the upper ones."""

    clock: Clock
    pairs: int
    mean_gain_sec: float | None
    """Of the lower bounds: with no censored run, of the differences. None where a pair has none."""
    mean_gain_relative: float | None
    """Of the baselines' mean time."""
    sd_sec: float | None
    """Spread that the test goes by: at least that of an evaluation grid as wide as the runs'."""
    t: float | None
    p_gain: float | None
    """One-sided: small means a gain."""
    p_loss: float | None
    t_loss: float | None = None
    """Of the upper bounds: as negative as a loss is sure."""
    mean_high_sec: float | None = None


class Reach(Record):
    """How many candidates of a mode reach the threshold, against the share that is required."""

    reached: int
    runs: int
    required_share: float
    p_below: float | None
    """One-sided p that the share is below the required one: from how far each run ends from the threshold, or from the
    count alone where one failed or the distances do not spread. None without a finished run."""


class Look(Record):
    """One look at a mode's evidence, as the warehouse keeps it: looks share one level of false verdicts."""

    timestamp_utc: str
    question: str
    """Identity of what was asked: the runs' recipes. Another threshold, ratio or more seeds are further looks at it."""
    mode: Mode
    threshold: float
    seeds: tuple[int, ...]
    pairs: int
    statistic: float | None
    """Paired t of the gain."""
    critical: float | None
    """What the statistic had to exceed at this look; None where there was nothing to test."""
    spent: float
    """Of the level, by this look and all before it."""
    decision: Decision
    runs: tuple[str, ...]
    """Fingerprints of the paired runs, sorted: the same ones at the same threshold are the same look."""


class NetBenefit(Record):
    """What the lane's calibration cost, and what its ratio saves, both on the clock that decided the verdict."""

    calibration_sec: float
    """Training time of the calibration runs that no baseline would have cost anyway [s]."""
    saved_per_run_sec: float
    """Mean gain of the verdict's mode."""
    runs_to_pay: int | None
    """Further runs after which the calibration is paid for; None where a run saves nothing."""
    clock: Clock = "measured"


class ModeVerdict(Record):
    """The verdict on one candidate mode."""

    mode: Mode
    decision: Decision
    reasons: tuple[str, ...]
    differences: tuple[PairedDifference, ...]
    pooled_test: PairedTest
    measured_test: PairedTest
    deciding_clock: Literal["pooled_step", "measured"]
    p_adjusted: float | None
    """The smaller one-sided p. Modes are tested in a fixed order, so none is adjusted for the other."""
    grid_resolution_sec: float | None
    """Widest pair of evaluations around a crossing, on the deciding clock."""
    seeds_needed: int | None
    """Seeds, those run counted, with which a verdict is reached with probability 0.8 by what is known now."""
    unpaired_seeds: tuple[int, ...]
    reach: Reach | None = None
    look: Look | None = None
    critical: float | None = None
    """What t has to exceed at this look for a gain, and -t for a loss."""
    level_left: float | None = None
    """Of the level of false ACCEPTs, what later looks may still spend."""
    gain_bounds: Bounds = Bounds(None, None)
    """Confidence bounds of the mean relative gain, each 95 % one-sided over all looks."""
    equivalent: bool = False
    """No gain as large as the smallest that matters is left: more seeds will not change that."""

    @property
    def deciding_test(self) -> PairedTest:
        """The test on the clock that decides."""
        return self.pooled_test if self.deciding_clock == "pooled_step" else self.measured_test


class Verdict(Record):
    """ACCEPT, REJECT or INCONCLUSIVE, and why."""

    timestamp_utc: str
    decision: Decision
    mode: Mode | None
    """The mode that the decision is about: the accepted one, else the one that came closest."""
    reasons: tuple[str, ...]
    threshold: float
    pooled_step_sec: float | None
    modes: tuple[ModeVerdict, ...]
    """The primary mode first."""
    arms: tuple[ArmTime, ...]
    warnings: tuple[str, ...]
    net_benefit: NetBenefit | None = None
