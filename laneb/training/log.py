"""Reading training logs, ours or nanochat's, whole or cut short, in one pass and little memory."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneb.records.base import canonical_hash, finite, utc_now
from laneb.records.runs import RunResult, RunStatus, ValidationPoint
from laneb.training.log_reader import LogReader, median
from laneb.training.time_to_target import Method, TimeToTarget, time_to_target

if TYPE_CHECKING:
    from upath import UPath

_SEED_IN_NAME = re.compile(r"_s(\d{1,10})(?=[_.]|$)")


class LogError(ValueError):
    """A log that can't be opened or read."""


@dataclass(frozen=True)
class TrainingLog:
    """What a training log says about its run. None where it says nothing.

    Attributes:
        path: where it was read from; empty for text.
        seed: from the file's name (`_s<seed>`), else as printed.
        printed_seed: the seed that the run itself printed.
        status: `ok` for a complete run without a NaN; `failed_nan`; `failed` for one that did not end.
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
    """

    path: str
    seed: int | None
    printed_seed: int | None
    status: RunStatus
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

    @property
    def val_curve(self) -> list[list[float]]:
        """[step, bpb] of each evaluation."""
        return [[point.step, point.bpb] for point in self.val_points]

    def to_json_dict(self) -> dict[str, Any]:
        """The object that `laneb log --json` prints."""
        names = (
            "path", "seed", "status", "complete", "total_batch_size", "n_scaling_params", "planned_steps",
            "requested_ratio", "realised_ratio", "realised_steps", "min_val_bpb", "final_val_bpb", "target_threshold",
            "tok_per_sec_median", "dt_median_ms", "final_train_loss", "total_training_time_sec", "peak_mem_mib",
            "segments", "val_curve",
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


def parse_log(
    source: str | bytes | Path | UPath,
    threshold: float | None = None,
    *,
    method: Method = "linear_recent_eval",
    power_law: Mapping[str, Any] | None = None,
) -> TrainingLog:
    """Read a training log, whoever wrote it.

    Args:
        source: a path, or the log's text: a `str` with a line break, or bytes.
        threshold: loss to reach [bpb], looked up in the curve whatever the run tracked; None for what the run tracked.
        method: extrapolation of a run that did not reach it.
        power_law: `power_law_*` arguments of `time_to_target`.

    Raises:
        LogError: the file is missing or can't be read. No content is an error: what is no log is a failed run.
        ValueError: the threshold or the method is none.
    """
    reader = LogReader()
    name = ""
    if isinstance(source, bytes):
        reader.read(io.BytesIO(source))
    elif isinstance(source, str) and (not source or "\n" in source or "\r" in source):
        reader.read(io.BytesIO(source.encode("utf-8", "replace")))
    else:
        name = str(source)
        _read_file(reader, Path(source) if isinstance(source, str) else source)
    return _to_log(reader, name, threshold, _target(reader, threshold, method, dict(power_law or {})))


def run_result_from_log(
    log: TrainingLog,
    *,
    run_id: str,
    backend: str,
    depth: int,
    max_seq_len: int,
    device_batch_size: int,
    warmdown_ratio: float,
    **known: Any,
) -> RunResult:
    """The result of a run that left nothing but its log.

    Args:
        log: the parsed log.
        run_id, backend, depth, max_seq_len, device_batch_size, warmdown_ratio: what no log says.
        known: any other field of `RunResult`; it beats the log's.

    Raises:
        ValueError: neither the log nor `known` has the seed, the batch or the number of scaling parameters.
    """
    said = {
        "seed": log.seed,
        "total_batch_size": log.total_batch_size,
        "n_scaling_params": log.n_scaling_params,
        "steps": log.realised_steps,
        "status": log.status,
        "val_curve": log.val_points,
        "final_train_loss": log.final_train_loss,
        "tok_per_sec_median": log.tok_per_sec_median,
        "dt_median_ms": log.dt_median_ms,
        "total_training_time_sec": log.total_training_time_sec,
        "wall_time_sec": None,
        "peak_mem_mib": log.peak_mem_mib,
        "device": "",
        "log_path": log.path,
    }
    given = {
        "run_id": run_id,
        "backend": backend,
        "depth": depth,
        "max_seq_len": max_seq_len,
        "device_batch_size": device_batch_size,
        "warmdown_ratio": warmdown_ratio,
    }
    values: dict[str, Any] = said | known | given
    missing = [name for name in ("seed", "total_batch_size", "n_scaling_params") if values[name] is None]
    if missing:
        raise ValueError(f"{log.path or 'the log'}: no line says {', '.join(missing)}, and nothing else does")
    values.setdefault("timestamp_utc", utc_now())
    lasting = {name: value for name, value in values.items() if name not in RunResult.volatile}
    values.setdefault("fingerprint", canonical_hash(lasting))
    return RunResult(**values)


def _read_file(reader: LogReader, path: Path | UPath) -> None:
    try:
        with path.open("rb") as stream:
            reader.read(stream)
    # A ValueError is a path with a NUL byte; buckets raise errors of their own below OSError.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LogError(f"{path}: this log can't be read: {reason}. Give the path of a training log.") from error


def _to_log(reader: LogReader, path: str, threshold: float | None, target: TimeToTarget | None) -> TrainingLog:
    run, footers = reader.run, reader.footers
    points = reader.timed_points()
    minimum = footers["minimum"].value if "minimum" in footers else None
    nan = run.nan_step is not None or (minimum is not None and not math.isfinite(minimum))
    lowest = [point.bpb for point in points] + ([minimum] if minimum is not None and math.isfinite(minimum) else [])
    seed_in_name = _SEED_IN_NAME.findall(re.split(r"[/\\]", path)[-1])
    printed_seed = _whole(run.headers.get("seed"))
    batch, n_scaling = _batch_size(run.headers), scaling_params(run.headers)
    last_horizon = run.last_line.horizon if run.last_line is not None else None
    planned = _whole(run.headers.get("horizon", int(last_horizon) if last_horizon else None))
    seconds = footers["total_sec"].value if "total_sec" in footers else None
    if seconds is None and run.last_timed is not None:
        seconds = run.last_timed.total_sec
    return TrainingLog(
        path=path,
        seed=int(seed_in_name[-1]) if seed_in_name else printed_seed,
        printed_seed=printed_seed,
        status="failed_nan" if nan else "ok" if reader.complete else "failed",
        complete=reader.complete,
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
        peak_mem_mib=footers["peak_mem_mib"].value if "peak_mem_mib" in footers else None,
        segments=reader.segments,
    )


def _target(
    reader: LogReader, threshold: float | None, method: Method, power_law: dict[str, Any]
) -> TimeToTarget | None:
    """The time to the given threshold from the curve, or what the run itself printed about the one it tracked."""
    points = reader.timed_points() if reader.has_times else ()
    if threshold is not None:
        return time_to_target(points, threshold, method=method, **power_law)
    tracked = reader.run.headers.get("threshold", math.nan)
    known = math.isfinite(tracked)
    curve = time_to_target(points, tracked, method=method, **power_law) if known else TimeToTarget()
    measured = reader.footers.get("measured")
    if measured is not None or reader.run.reached is not None:
        step, seconds = reader.run.reached or (curve.measured_step, None)
        return TimeToTarget(
            measured_sec=measured.value if measured is not None else seconds,
            measured_step=step,
            interpolated_sec=curve.interpolated_sec,
            interpolated_step=curve.interpolated_step,
        )
    if curve.reached:
        return curve
    if extrapolated := reader.footers.get("extrapolated"):
        return TimeToTarget(extrapolated_sec=extrapolated.value, method=extrapolated.detail.split(",")[-1].strip())
    if unavailable := reader.footers.get("unavailable"):
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
    for name in ("asked_ratio", "ratio"):
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
