"""Runs that cross a threshold where a test wants them to."""

from __future__ import annotations

from typing import Any

import pandas as pd

from laneb.decision import judge
from laneb.records.runs import RunResult, ValidationPoint
from laneb.records.verdict import Verdict

THRESHOLD = 1.0
BATCH = 1000
N_SCALING = 10_000


def run(
    arm: str,
    seed: int,
    crossing: float | None,
    *,
    steps: int = 200,
    every: int = 5,
    seconds_per_step: float = 0.1,
    **changes: object,
) -> RunResult:
    """A run whose loss falls in a straight line through the threshold at step `crossing`; None: it never gets there."""
    at = crossing if crossing is not None else steps * 1.2
    curve = tuple(
        ValidationPoint(step, step * seconds_per_step, THRESHOLD + 0.002 * (at - step))
        for step in range(0, steps + 1, every)
    )
    values: dict[str, object] = {
        "timestamp_utc": "2026-01-01T00:00:00Z", "run_id": f"{arm}_s{seed}", "fingerprint": f"{arm}-{seed}-{steps}",
        "backend": "builtin", "seed": seed, "depth": 2, "max_seq_len": 128, "device_batch_size": 8,
        "total_batch_size": BATCH, "n_scaling_params": N_SCALING, "steps": steps, "warmdown_ratio": 0.5, "status": "ok",
        "val_curve": curve, "final_train_loss": 2.0, "tok_per_sec_median": 1e4, "dt_median_ms": seconds_per_step * 1000,
        "total_training_time_sec": steps * seconds_per_step, "wall_time_sec": None, "peak_mem_mib": None,
        "device": "cpu",
    }  # fmt: skip
    return RunResult.model_validate(values | changes)


def arm(name: str, crossings: dict[int, float | None], **changes: Any) -> list[RunResult]:
    """A run per seed."""
    return [run(name, seed, crossing, **changes) for seed, crossing in crossings.items()]


BASELINE = {41: 190.0, 42: 192.0, 43: 191.0}
"""Steps at which baselines cross the threshold, by seed."""


def verdict(candidates: dict, baseline: dict | list = BASELINE, **options: Any) -> Verdict:
    """The verdict on candidates by mode: crossings by seed of runs of 160 steps, or runs; the baselines likewise."""
    baselines = arm("baseline", baseline) if isinstance(baseline, dict) else baseline
    modes = {
        name: arm(name, value, steps=160) if isinstance(value, dict) else value for name, value in candidates.items()
    }
    return judge(baselines=baselines, candidates=modes, threshold=THRESHOLD, **options)


def results(*rows: tuple[object, str, object]) -> pd.DataFrame:
    """Rows (seed, status, min_val_bpb) of results.csv."""
    frame = pd.DataFrame(rows, columns=["seed", "status", "min_val_bpb"])
    return frame.assign(experiment_name=[f"b{index}" for index in range(len(rows))])
