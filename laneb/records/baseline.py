"""Baseline results and the threshold taken from them."""

from __future__ import annotations

from laneb.records.base import Record


class SuccessfulRun(Record):
    """A baseline that counts towards the threshold."""

    seed: str
    experiment_name: str
    min_val_bpb: float


class BaselineThreshold(Record):
    """baseline_threshold.json: the validation bpb that a candidate has to reach."""

    timestamp_utc: str
    results_csv: str
    target_metric_name: str
    threshold_formula: str
    threshold_offset: float
    required_seeds: tuple[str, ...]
    min_successful_runs: int
    successful_runs_count: int
    successful_runs: tuple[SuccessfulRun, ...]
    median_min_val_bpb: float
    recommended_target_threshold: float
    export_threshold_var: str = "LANE_B_TARGET_THRESHOLD"
    export_prefix: str = "export"

    volatile = frozenset({"timestamp_utc", "results_csv"})
