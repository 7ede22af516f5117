"""Reading training logs, ours or nanochat's, whole or cut short, in one pass and little memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneb.brought import SPECIAL, is_special
from laneb.places import is_folder_path
from laneb.records.base import canonical_hash, utc_now
from laneb.records.runs import RunResult
from laneb.training.logs.foreign import nearest_guess
from laneb.training.logs.reader import LogReader
from laneb.training.logs.run import RunSoFar
from laneb.training.logs.text import LogError, NoLogError, Readable, read_blocks
from laneb.training.logs.training_log import TrainingLog, run_target, scaling_params, training_log
from laneb.training.time_to_target import Method

if TYPE_CHECKING:
    from upath import UPath

__all__ = ["LogError", "NoLogError", "TrainingLog", "parse_log", "parse_logs", "run_result_from_log", "scaling_params"]


def parse_log(
    source: str | bytes | Path | UPath,
    threshold: float | None = None,
    *,
    method: Method = "linear_recent_eval",
    power_law: Mapping[str, Any] | None = None,
) -> TrainingLog:
    """Read a training log, whoever wrote it: the last pretraining run in it.

    Args:
        source: a path, or the log's text: a `str` with a line break, or bytes. gzip and zstd are unpacked.
        threshold: loss to reach [bpb], looked up in the curve whatever the run tracked; None for what the run tracked.
        method: extrapolation of a run that did not reach it.
        power_law: `power_law_*` arguments of `time_to_target`.

    Raises:
        LogError: the file is missing or can't be read. What is no log is no error: a failed run, `runs` of which is 0
            and whose warning says what it is instead.
        ValueError: the threshold or the method is none.

    >>> log = parse_log("step 00000/00001 (0.00%) | loss: 9.1 |\\nStep 00001 | Validation bpb: 2.500000\\n")
    >>> log.status, log.realised_steps, log.val_curve
    ('failed', 1, [[1, 2.5]])
    """
    logs = _read(source, threshold, method, power_law)
    if len(logs) == 1:
        return logs[0]
    last = logs[-1]
    more = f"the file holds {len(logs)} runs; this is the last of them"
    return replace(last, warnings=(*last.warnings, more))


def parse_logs(
    source: str | bytes | Path | UPath,
    threshold: float | None = None,
    *,
    method: Method = "linear_recent_eval",
    power_law: Mapping[str, Any] | None = None,
) -> list[TrainingLog]:
    """Read every pretraining run of a log, in the order of the file. Arguments and errors are those of `parse_log`.

    Raises:
        NoLogError: there is none; the sentence says what the file looks like instead.
    """
    logs = _read(source, threshold, method, power_law)
    if logs[0].runs == 0:
        raise NoLogError(logs[0].warnings[0])
    return logs


def _read(
    source: str | bytes | Path | UPath, threshold: float | None, method: Method, power_law: Mapping[str, Any] | None
) -> list[TrainingLog]:
    """A log of each run; one of no run where there is none."""
    reader, name = LogReader(), ""
    if isinstance(source, str | bytes) and _is_text(source):
        content = source if isinstance(source, bytes) else source.encode("utf-8", "replace")
        head = _take_in(reader, lambda: io.BytesIO(content), name)
    else:
        path = Path(source) if isinstance(source, str) else source
        assert not isinstance(path, bytes)
        name = str(path)
        if is_folder_path(path) and is_special(path):
            raise LogError(f"{name}: this log can't be read: {SPECIAL}. Give the path of a training log.")
        head = _take_in(reader, lambda: path.open("rb"), name)
    arguments = dict(power_law or {})
    if not reader.runs:
        empty = RunSoFar(segments=0)
        guess = (f"{name or 'the text'}: no nanochat log: {nearest_guess(head, later_stages=reader.later_stages)}",)
        return [training_log(empty, name, threshold, run_target(empty, threshold, method, arguments), (1, 0), guess)]
    return [
        training_log(
            run, name, threshold, run_target(run, threshold, method, arguments), (number, len(reader.runs)),
            _warnings(reader, run),
        )
        for number, run in enumerate(reader.runs, 1)
    ]  # fmt: skip


def _is_text(source: str | bytes) -> bool:
    return isinstance(source, bytes) or not source or "\n" in source or "\r" in source


def _take_in(reader: LogReader, open_: Callable[[], Any], name: str) -> bytes:
    """Read a log; gives the beginning of one in which there is no run."""
    try:
        with open_() as stream:
            reader.read(stream)
        if reader.runs:
            return b""
        with open_() as stream:
            again: Readable = stream
            return next(read_blocks(again), b"")
    except LogError as error:
        raise LogError(f"{name or 'the log'}: this log can't be read: {error}.") from error
    # A ValueError is a path with a NUL byte; buckets raise errors of their own below OSError.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LogError(f"{name}: this log can't be read: {reason}. Give the path of a training log.") from error


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
        ValueError: neither the log nor `known` has the seed, the batch or the number of scaling parameters; or the run
            was never evaluated.
    """
    if log.status == "not_evaluated" and "status" not in known:
        raise ValueError(f"{log.path or 'the log'}: the run was never evaluated, so that it has no validation bpb")
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


def _warnings(reader: LogReader, run: RunSoFar) -> tuple[str, ...]:
    """What makes a run doubtful."""
    said = []
    if reader.tangle.found:
        said.append(
            "two runs print in turns in this file, so that its curve is a mixture of both. Give each run a log of its "
            "own, or take the lines of one apart (by the prefix that a launcher put before them)"
        )
    if run.odd is not None:
        said.append(f"step {run.odd.step}: its validation bpb, {run.odd.printed!r}, can't be one")
    if run.replaced_whole:
        said.append("a run that had ended, with the same headers, stands before it in the file: this one replaces it")
    return tuple(said)
