"""Lanes of known truth: finals and validation curves of runs on L_inf + A D ** -alpha."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd

from laneb.records.runs import RunResult, ValidationPoint
from laneb.records.scaling import ParamCounts, ScalingParams

KNOWN_TOKENS = [k * 52_428_800 for k in range(1, 16)]
KNOWN_LOSSES = [
    1.407593, 1.176748, 1.111499, 1.072968, 1.048057, 1.0294, 1.016016, 1.00219, 0.986734, 0.973403, 0.961173, 0.949242,
    0.93891, 0.930132, 0.925622,
]  # fmt: skip
KNOWN_SCALING_PARAMS = 110_101_632

BATCH = 524_288
ASYMPTOTE, ALPHA = 0.7, 0.4
AMPLITUDE = 0.22 * (1500 * BATCH) ** ALPHA


def loss_at(steps: float) -> float:
    """Loss of the mean seed's run finished at a horizon [steps]."""
    return float(ASYMPTOTE + AMPLITUDE * (steps * BATCH) ** -ALPHA)


def finals(
    horizons: Sequence[int] = (750, 1500, 2250, 3000),
    seeds: int = 3,
    *,
    seed_sd: float = 1.34e-3,
    noise_sd: float = 0.32e-3,
    draw: int = 0,
) -> pd.DataFrame:
    """Finals of finished runs, every seed at every horizon."""
    generator = np.random.default_rng(draw)
    effects = generator.normal(0, seed_sd, seeds)
    rows = [
        (steps * BATCH, loss_at(steps) + effects[seed] + generator.normal(0, noise_sd), 41 + seed)
        for steps in horizons
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["tokens", "loss", "seed"])


def run(
    steps: int,
    seed: int,
    *,
    final: float | None = None,
    trunk_excess: float = 0.05,
    run_id: str | None = None,
    **changes: object,
) -> RunResult:
    """A run whose loss comes down to `final` in its warmdown; before, it lies `trunk_excess` above the loss curve."""
    final = loss_at(steps) if final is None else final
    curve = []
    for step in range(steps // 10, steps + 1, steps // 10):
        above = trunk_excess * min(1.0, (steps - step) / (steps / 2))
        curve.append(ValidationPoint(step, step * 0.1, final + (loss_at(step) - loss_at(steps)) + above))
    values: dict[str, object] = {
        "timestamp_utc": "2026-01-01T00:00:00Z", "run_id": run_id or f"calib_{steps}_s{seed}",
        "fingerprint": f"{steps}-{seed}", "backend": "builtin", "seed": seed, "depth": 12, "max_seq_len": 2048,
        "device_batch_size": 32, "total_batch_size": BATCH, "n_scaling_params": KNOWN_SCALING_PARAMS, "steps": steps,
        "warmdown_ratio": 0.5, "status": "ok", "val_curve": tuple(curve), "final_train_loss": 2.0,
        "tok_per_sec_median": 1e6, "dt_median_ms": 100.0, "total_training_time_sec": steps * 0.1, "wall_time_sec": None,
        "peak_mem_mib": None, "device": "cpu",
    }  # fmt: skip
    return RunResult.model_validate(values | changes)


def scaling() -> ScalingParams:
    """The known shape at depth 12."""
    counts = ParamCounts(
        wte=25_165_824, value_embeds=150_994_944, lm_head=25_165_824, transformer_matrices=84_935_808, scalars=24,
        total=286_262_424,
    )  # fmt: skip
    return ScalingParams(
        timestamp_utc="2026-01-01T00:00:00Z", depth=12, aspect_ratio=64, head_dim=128, n_head=6, n_kv_head=6,
        max_seq_len=2048, window_pattern="L", vocab_size=32_768, model_dim=768, param_counts=counts,
        n_scaling_params=KNOWN_SCALING_PARAMS,
    )  # fmt: skip


def statistics(*, correlation: float | None = 0.5, entropy: float | None = 0.5, weak: bool = False) -> SimpleNamespace:
    """What inference reads of a dataset's statistics."""
    return SimpleNamespace(
        corr_decay_exponent=correlation, corr_decay_r2=0.8 if weak else 0.99, corr_decay_r2_low_quality=weak,
        entropy_decay_exponent=entropy, entropy_decay_r2=0.99, entropy_decay_r2_low_quality=False,
        dataset_id="a-dataset", tokenizer_id="a-tokenizer",
    )  # fmt: skip
