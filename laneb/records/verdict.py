"""The summary of the schema rows, and the verdict on each candidate mode against the baseline."""

from __future__ import annotations

from typing import Literal

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


class PairedDifference(Record):
    """Baseline minus candidate at one seed: positive is a gain."""

    seed: int
    pooled_sec: float | None
    measured_sec: float | None
    relative: float | None
    """Of the baseline's pooled time."""
    baseline_censored: bool
    candidate_censored: bool


class PairedTest(Record):
    """A paired t test of mean difference 0."""

    clock: Literal["pooled_step", "measured"]
    pairs: int
    mean_gain_sec: float | None
    mean_gain_relative: float | None
    sd_sec: float | None
    t: float | None
    p_gain: float | None
    """One-sided: small means a gain."""
    p_loss: float | None


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
    """The smaller one-sided p, adjusted by Holm's method for the modes that were tried."""
    grid_resolution_sec: float | None
    seeds_needed: int | None
    """Pairs for which this mean and spread would be significant with probability 0.8."""
    unpaired_seeds: tuple[int, ...]


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
    arms: tuple[ArmTime, ...]
    warnings: tuple[str, ...]
