"""The facts of a run, made of what counts of its log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from laneb.records.base import finite
from laneb.records.runs import RunStatus, ValidationPoint
from laneb.training.logs.run import RunSoFar, median
from laneb.training.time_to_target import Method, TimeToTarget, time_to_target

_SEED_IN_NAME = re.compile(r"_s(\d{1,10})(?=[_.]|$)")

LogStatus = RunStatus | Literal["not_evaluated"]


@dataclass(frozen=True)
class TrainingLog:
    """What a training log says about its run. None where it says nothing.

    Attributes:
        path: where it was read from; empty for text.
        run: which of the file's runs it is, from 1.
        runs: how many runs the file holds; 0 for a file that is no training log.
        seed: from the file's name (`_s<seed>`), else as printed.
        printed_seed: the seed that the run itself printed.
        status: `ok` for a complete run without a NaN; `failed_nan`; `not_evaluated` for one that ended without an
            evaluation, as where they are switched off; `failed` for one that did not end, or one of whose losses can't
            be one.
        complete: whether the last segment has its `Minimum validation bpb` line, and nothing was started after it.
        total_batch_size: tokens per step.
        n_scaling_params: matrices and head.
        planned_steps: the horizon.
        requested_ratio: tokens per scaling parameter as asked for.
        realised_ratio: as trained: `realised_steps * total_batch_size / n_scaling_params`.
        realised_steps: updates made.
        min_val_bpb, final_val_bpb: lowest and last validation loss [bpb].
        bpb_decimals: decimals that they are printed with.
        val_points: the validation curve, with training time [s] (evaluation and the first 10 steps left out).
        target_threshold: the loss that the run tracked, or the one asked for [bpb].
        time_to_target: when it was reached; None without a threshold or without times.
        tok_per_sec_median, dt_median_ms: over the training lines.
        final_train_loss: of the last training line.
        total_training_time_sec, peak_mem_mib: as printed.
        segments: how often the run was started.
        warnings: sentences on what makes it doubtful.
    """

    path: str
    run: int
    runs: int
    seed: int | None
    printed_seed: int | None
    status: LogStatus
    complete: bool
    total_batch_size: int | None
    n_scaling_params: int | None
    planned_steps: int | None
    requested_ratio: float | None
    realised_ratio: float | None
    realised_steps: int
    min_val_bpb: float | None
    final_val_bpb: float | None
    bpb_decimals: int
    val_points: tuple[ValidationPoint, ...]
    target_threshold: float | None
    time_to_target: TimeToTarget | None
    tok_per_sec_median: float | None
    dt_median_ms: float | None
    final_train_loss: float | None
    total_training_time_sec: float | None
    peak_mem_mib: float | None
    segments: int
    warnings: tuple[str, ...] = ()

    @property
    def val_curve(self) -> list[list[float]]:
        """[step, bpb] of each evaluation."""
        return [[point.step, point.bpb] for point in self.val_points]

    def to_json_dict(self) -> dict[str, Any]:
        """The object that `laneb log --json` prints."""
        names = (
            "path", "run", "runs", "seed", "status", "complete", "total_batch_size", "n_scaling_params",
            "planned_steps", "requested_ratio", "realised_ratio", "realised_steps", "min_val_bpb", "final_val_bpb",
            "target_threshold",
            "tok_per_sec_median", "dt_median_ms", "final_train_loss", "total_training_time_sec", "peak_mem_mib",
            "segments", "val_curve", "warnings",
        )  # fmt: skip
        target = self.time_to_target or TimeToTarget()
        extrapolated = target.extrapolated_sec is not None
        values: dict[str, Any] = finite(
            {name: getattr(self, name) for name in names}
            | {
                "time_to_target_sec_measured": target.measured_sec,
                "time_to_target_sec_interpolated": target.interpolated_sec,
                "time_to_target_sec_extrapolated": target.extrapolated_sec,
                "extrapolation_method": target.method if extrapolated else None,
                "extrapolation_reason": target.reason,
            }
        )
        return values


def training_log(
    run: RunSoFar,
    path: str,
    threshold: float | None,
    target: TimeToTarget | None,
    place: tuple[int, int],
    warnings: tuple[str, ...],
) -> TrainingLog:
    """The facts of a run; `place` is its number in the file and how many there are."""
    points = run.timed_points()
    minimum = run.footers["minimum"].value if "minimum" in run.footers else None
    lowest = [point.bpb for point in points] + ([minimum] if minimum is not None and 0 < minimum < math.inf else [])
    seed_in_name = _SEED_IN_NAME.findall(re.split(r"[/\\]", path)[-1])
    printed_seed = _whole(run.headers.get("seed"))
    batch, n_scaling = _batch_size(run.headers), scaling_params(run.headers)
    planned = _whole(run.headers.get("horizon", int(run.horizon) if run.horizon else None))
    seconds = run.footers["total_sec"].value if "total_sec" in run.footers else None
    if seconds is None and run.last_timed is not None:
        seconds = run.last_timed.total_sec
    return TrainingLog(
        path=path,
        run=place[0],
        runs=place[1],
        seed=int(seed_in_name[-1]) if seed_in_name else printed_seed,
        printed_seed=printed_seed,
        status=_status(run, minimum),
        complete=run.complete,
        total_batch_size=batch,
        n_scaling_params=n_scaling,
        planned_steps=planned,
        requested_ratio=_requested_ratio(run.headers),
        realised_ratio=_realised_ratio(run.headers, run.steps_done, batch, n_scaling, planned),
        realised_steps=run.steps_done,
        min_val_bpb=min(lowest, default=None),
        final_val_bpb=points[-1].bpb if points else None,
        bpb_decimals=run.decimals,
        val_points=points,
        target_threshold=threshold if threshold is not None else run.headers.get("threshold"),
        time_to_target=target,
        tok_per_sec_median=median(run.speeds),
        dt_median_ms=median(run.step_times),
        final_train_loss=float(run.last_finite.loss) if run.last_finite else None,
        total_training_time_sec=seconds,
        peak_mem_mib=run.footers["peak_mem_mib"].value if "peak_mem_mib" in run.footers else None,
        segments=run.segments,
        warnings=warnings,
    )


def _status(run: RunSoFar, minimum: float | None) -> LogStatus:
    evaluated = bool(run.points) or run.nan_step is not None or run.odd is not None
    # Without an evaluation the minimum stays at what it began with, or is not printed at all.
    if not evaluated and not run.started_again and (minimum == math.inf or (minimum is None and _ended(run))):
        return "not_evaluated"
    if run.nan_step is not None or (minimum is not None and not math.isfinite(minimum)):
        return "failed_nan"
    odd = run.odd is not None or (minimum is not None and minimum <= 0)
    return "ok" if run.complete and not odd else "failed"


def _ended(run: RunSoFar) -> bool:
    """Whether a run printed what comes after its last step."""
    return "total_sec" in run.footers and run.last_line is not None


def run_target(
    run: RunSoFar, threshold: float | None, method: Method, power_law: dict[str, Any]
) -> TimeToTarget | None:
    """The time to the given threshold from the curve, or what the run itself printed about the one it tracked."""
    points = run.timed_points() if run.has_times else ()
    if threshold is not None:
        return time_to_target(points, threshold, method=method, **power_law)
    tracked = run.headers.get("threshold", math.nan)
    known = math.isfinite(tracked)
    curve = time_to_target(points, tracked, method=method, **power_law) if known else TimeToTarget()
    measured = run.footers.get("measured")
    if measured is not None or run.reached is not None:
        step, seconds = run.reached or (curve.measured_step, None)
        return TimeToTarget(
            measured_sec=measured.value if measured is not None else seconds,
            measured_step=step,
            interpolated_sec=curve.interpolated_sec,
            interpolated_step=curve.interpolated_step,
        )
    if curve.reached:
        return curve
    if extrapolated := run.footers.get("extrapolated"):
        return TimeToTarget(extrapolated_sec=extrapolated.value, method=extrapolated.detail.split(",")[-1].strip())
    if unavailable := run.footers.get("unavailable"):
        return TimeToTarget(method=curve.method, reason=unavailable.detail)
    return curve if known else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _batch_size(headers: Mapping[str, float]) -> int | None:
    if batch := int(headers.get("total_batch_size", 0)):
        return batch
    tokens, steps = int(headers.get("total_tokens", 0)), int(headers.get("horizon", 0))
    return tokens // steps if tokens and steps and tokens % steps == 0 else None


def scaling_params(headers: Mapping[str, float]) -> int | None:
    """Matrices and head, from a log's headers."""
    if "n_scaling_params" in headers:
        return int(headers["n_scaling_params"])
    if "lm_head" in headers and "transformer_matrices" in headers:
        return int(headers["lm_head"] + headers["transformer_matrices"])
    return None


def _requested_ratio(headers: Mapping[str, float]) -> float | None:
    # A version that prints the ratio of all parameters was also asked for one of all parameters.
    for name in ("asked_ratio", "ratio") if "params_ratio" not in headers else ():
        ratio = headers.get(name, math.nan)
        if math.isfinite(ratio) and ratio > 0:
            return ratio
    return None


def _realised_ratio(
    headers: Mapping[str, float], steps: int, batch: int | None, n_scaling: int | None, planned: int | None
) -> float | None:
    if batch and n_scaling:
        return steps * batch / n_scaling
    # Without the parameter counts, the printed ratio of the whole horizon gives that of the steps made.
    ratio = headers.get("ratio", math.nan)
    return ratio * steps / planned if planned and math.isfinite(ratio) else None
