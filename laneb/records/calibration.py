"""The calibration points: finals of finished runs at several horizons."""

from __future__ import annotations

from laneb.records.base import Record


class CalibrationPoint(Record):
    """One finished run's final point."""

    run_id: str
    seed: int
    horizon_tokens: int
    tokens: int
    loss: float


class Calibration(Record):
    """calibration.json. The csv fields hold one value per horizon: the median over its seeds."""

    timestamp_utc: str
    iterations: tuple[int, ...]
    total_batch_size: int
    calib_tokens: tuple[int, ...]
    calib_metrics: tuple[float, ...]
    calib_tokens_csv: str
    calib_metrics_csv: str
    mode: str
    baseline_required_seeds: tuple[str, ...]
    points: tuple[CalibrationPoint, ...]
    run_versions: tuple[str, ...] = ()
    """Identity of each run behind the points: readers look at the runs' curves too, not at the finals alone."""
    warnings: tuple[str, ...] = ()
    """Baselines that join although their recipe is unknown, or do not join since it is another one."""
