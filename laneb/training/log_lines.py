"""The lines that a run prints, as nanochat prints them (docs/formats.md): people's scripts read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneb.training.spec import RunSpec
    from laneb.training.time_to_target import TimeToTarget

UNTIMED_STEPS = 10
"""First steps, left out of every time: caches, allocators and compilers warm up in them."""


def header(spec: RunSpec, head_parameters: int) -> list[str]:
    """What stands before the first step of a run."""
    return [
        f"lm_head                 : {head_parameters:,}",
        f"transformer_matrices    : {spec.n_scaling_params - head_parameters:,}",
        f"Using user-provided number of iterations: {spec.steps:,}",
        f"Total number of training tokens: {spec.steps * spec.total_batch_size:,}",
        f"Tokens : Scaling params ratio: {spec.realised_ratio:.2f}",
        f"Total batch size {spec.total_batch_size:,} => gradient accumulation steps: {spec.accumulation_steps}",
    ]


def resuming(step: int) -> str:
    """Said when a run goes on from a checkpoint."""
    return f"Resuming optimization from step {step}"


def validation(step: int, bpb: float) -> str:
    """One evaluation."""
    return f"Step {step:05d} | Validation bpb: {bpb:.6f}"


def training_step(
    *,
    step: int,
    steps: int,
    loss: float,
    learning_rate: float,
    milliseconds: float,
    tokens_per_second: float,
    mfu_percent: float,
    epoch: int,
    minutes: float,
    minutes_left: float | None,
) -> str:
    """One update. `minutes` leaves out evaluation and the first 10 steps; `minutes_left` is None while unknown."""
    eta = "" if minutes_left is None else f" | eta: {minutes_left:.1f}m"
    return (
        f"step {step:05d}/{steps:05d} ({100 * step / steps:.2f}%) | loss: {loss:.6f} | lrm: {learning_rate:.2f} | "
        f"dt: {milliseconds:.2f}ms | tok/sec: {int(tokens_per_second):,} | bf16_mfu: {mfu_percent:.2f} | "
        f"epoch: {epoch} | total time: {minutes:.2f}m{eta}"
    )


def footer(*, peak_memory_mib: float, minutes: float, minimum_bpb: float | None) -> list[str]:
    """What ends a finished run; the last line is what makes it complete."""
    lines = [f"Peak memory usage: {peak_memory_mib:.2f}MiB", f"Total training time: {minutes:.2f}m"]
    return lines if minimum_bpb is None else [*lines, f"Minimum validation bpb: {minimum_bpb:.6f}"]


def tracking(threshold: float, metric: str = "val_bpb") -> str:
    """Which threshold the times to target of a log are for."""
    return f"Tracking time-to-target using {metric} with threshold {threshold:g}"


def times_to_target(target: TimeToTarget, metric: str = "val_bpb") -> list[str]:
    """When a run reached the threshold, or when its trend would."""
    if target.measured_sec is not None and target.measured_step is not None:
        minutes = f"{target.measured_sec / 60:.2f}m"
        return [
            f"Time-to-target reached via {metric} at step {target.measured_step:05d}: {minutes}",
            f"Time-to-target ({metric}): {minutes}",
        ]
    if target.extrapolated_sec is not None:
        return [f"Extrapolated time-to-target ({metric}, {target.method}): {target.extrapolated_sec / 60:.2f}m"]
    return [f"Extrapolated time-to-target unavailable ({target.reason})"]
