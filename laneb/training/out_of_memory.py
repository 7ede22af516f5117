"""What to say when a run doesn't fit the memory of its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneb.training.spec import RunSpec


class OutOfMemoryError(ValueError):
    """A run that doesn't fit: trying again, or going on from a checkpoint, would fail alike."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch has a class for GPUs, and a plain error for the CPU."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def out_of_memory(spec: RunSpec, device: str) -> OutOfMemoryError:
    """The error to raise in its place, with the batch to try."""
    fitting = fewer_rows(spec)
    remedy = (
        f"Set LANE_B_DEVICE_BATCH_SIZE={fitting}: more passes make the same batch"
        if fitting
        else "Lower LANE_B_MAX_SEQ_LEN or LANE_B_DEPTH"
    )
    rows = f"{spec.device_batch_size:,} row{'s' if spec.device_batch_size > 1 else ''}"
    return OutOfMemoryError(
        f"{spec.run_id}: out of memory on {device} with {rows} of {spec.max_seq_len:,} tokens a pass. {remedy}"
    )


def fewer_rows(spec: RunSpec) -> int:
    """The most rows a pass, at most half as many as now, that make the same batch; 0: there are none."""
    rows = spec.total_batch_size // spec.max_seq_len
    return next((fewer for fewer in _divisors_from(spec.device_batch_size) if rows % fewer == 0), 0)


def _divisors_from(count: int) -> list[int]:
    """The divisors of a count but itself, largest first."""
    small = [divisor for divisor in range(1, min(count, 4096)) if count % divisor == 0]
    return sorted(
        {count // divisor for divisor in small if divisor > 1} | {d for d in small if d < count}, reverse=True
    )
