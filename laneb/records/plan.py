"""What a lane's design can find out, before it is trained, and what to run next."""

from __future__ import annotations

from typing import Any

from laneb.records.base import Record


class Forecast(Record):
    """What is expected of one design."""

    name: str
    """`as it stands`, or what differs: `one seed more`, `one horizon less`."""
    seeds: int
    """Seeds that have a baseline and candidates: pairs of the verdict."""
    horizons: int
    """Horizons of finished runs: the calibration's, and the baselines'."""
    half_width: float | None
    """Expected half width of the ratio's 95 % interval, as a share of it; None where no ratio is expected."""
    power: dict[str, float | None]
    """Probability that the primary mode is accepted at the first look, by true gain; None where none is so large."""
    train_sec: float
    """Training time of all runs, the candidates' too [s]."""
    least_gain: float | None = None
    """No smaller gain, as a share of the baseline's time, can be accepted: evaluations lie so far apart."""
    gain: float | None = None
    """True gain of the confirmation on the assumed surface, as a share of the baseline's time."""
    power_at_gain: float | None = None


class NextStep(Record):
    """The knob whose change narrows the interval most per second of training."""

    key: str
    value: tuple[int, ...]
    what: str
    """Which runs it adds."""
    train_sec: float
    half_width_now: float | None
    """Share of the ratio; None without an interval, where nothing measures the noise."""
    half_width_then: float


class Plan(Record):
    """What `laneb plan --json` prints: the design beside its neighbours, and the next step after calibration."""

    timestamp_utc: str
    assumed_from: str
    """Where the assumed losses and spreads come from."""
    problems: tuple[str, ...]
    """Why the design can never, or hardly, be accepted; each with what to do."""
    forecasts: tuple[Forecast, ...]
    next_step: NextStep | None = None
    surface: dict[str, Any]
    """The assumed truth: a surface file's numbers."""
