"""A finished run's log: proved to be the one that the result was written with, or told again from the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from laneb.model.scaling import count_parameters
from laneb.records.runs import RunResult
from laneb.storage.atomic import write_text
from laneb.storage.checksums import checksum
from laneb.training import log_lines
from laneb.training.log import LogError, parse_log
from laneb.training.run_directory import LOG, SPEC, read_spec, write_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laneb.records.runs import ValidationPoint
    from laneb.training.spec import RunSpec

BPB_PRINTED = 1e-6
"""What printing six decimals can move a bpb by."""

RETOLD = "Warning: the log of this run was lost or damaged; these lines are told from its evaluations"


def run_log(run_dir: Path, result: RunResult) -> str:
    """The text of a finished run's log.

    One that is missing or damaged is written again from the result: its header, its evaluations and its last lines,
    without the updates between them.

    Raises:
        ValueError: it is damaged and the run's spec can't be read or is another run's; or the place can't be written.
    """
    log = run_dir / LOG
    try:
        data = log.read_bytes()
        if not result.log_checksum or checksum(data) == result.log_checksum:
            return data.decode("utf-8", "replace")
    except OSError:
        pass
    spec = read_spec(run_dir / SPEC)
    if spec.fingerprint != result.fingerprint:
        raise ValueError(
            f"{log} is damaged, and {run_dir / SPEC} is another run's. Move {run_dir} away and train again"
        )
    text = "\n".join([*_lines(spec, result), ""])
    write_text(log, text)
    write_result(run_dir, result)
    return text


def publish(run_dir: Path, spec: RunSpec, result: RunResult) -> None:
    """Say that a run is done: `result.json`, beside a log that says the same.

    A log that lost a stretch while the run was interrupted is told again from the result.

    Raises:
        ValueError: the place can't be written.
    """
    if not _agree(run_dir / LOG, result):
        write_text(run_dir / LOG, "\n".join([*_lines(spec, result), ""]))
    write_result(run_dir, result)


def _agree(path: Path, result: RunResult) -> bool:
    try:
        log = parse_log(path)
    except LogError:
        return False
    said = [(point.step, point.bpb) for point in log.val_points]
    known = [(point.step, point.bpb) for point in result.val_curve]
    return (
        log.status == result.status
        and len(said) == len(known)
        and all(
            step == other_step and abs(bpb - other) < BPB_PRINTED
            for (step, bpb), (other_step, other) in zip(said, known, strict=True)
        )
    )


def told_so_far(spec: RunSpec, curve: Sequence[ValidationPoint]) -> list[str]:
    """The lines of a log that was lost: its header and its evaluations, without the updates between them."""
    head = count_parameters(spec.shape).param_counts.lm_head
    return [RETOLD, *log_lines.header(spec, head), *(log_lines.validation(point.step, point.bpb) for point in curve)]


def _lines(spec: RunSpec, result: RunResult) -> list[str]:
    lines = told_so_far(spec, result.val_curve)
    if result.status == "failed_nan":
        lines.append(f"step {result.steps:05d}/{spec.steps:05d} | loss: nan")
    return lines + log_lines.footer(
        peak_memory_mib=result.peak_mem_mib or 0.0,
        minutes=(result.total_training_time_sec or 0.0) / 60,
        minimum_bpb=result.min_val_bpb if result.status == "ok" else None,
    )
