"""Checkpoints: written whole or not at all, the last two kept while a run trains, a broken one passed over.

Once a run has its result they go; its final weights stay where `LANE_B_KEEP_MODEL=1` asks for them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from laneb.storage.atomic import remedy

KEPT = 2


class CheckpointError(ValueError):
    """A checkpoint that can't be written, with the path and what to do."""


class _Remembering(io.BufferedWriter):
    """A file that keeps the error of a write: torch raises one of its own, which doesn't say why."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def save(directory: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `directory/step_<step>.pt` and drop all but the last two.

    Raises:
        CheckpointError: the disk is full or the directory is not writable; older checkpoints are untouched.
    """
    path = path_of(directory, step)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_whole(path, state)
    except OSError as error:
        older = [kept for kept, _ in found(directory)]
        consequence = f"step {older[0]} is still there to resume from" if older else "there is no older one"
        raise CheckpointError(
            f"checkpoint {path} can't be written: {error.strerror or error}; {consequence}. "
            f"{remedy(error, _size(state))} and start the run again"
        ) from error
    for _, old in found(directory)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def drop(directory: Path) -> None:
    """Remove the checkpoints of a run that has its result, as far as they can be."""
    for _, path in found(directory):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):  # what else lies there is somebody's
        directory.rmdir()


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a model's weights as one file.

    Raises:
        CheckpointError: the disk is full or the place is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, weights)
    except OSError as error:
        raise CheckpointError(
            f"weights {path} can't be written: {error.strerror or error}. {remedy(error, _size(weights))} "
            "and start it again"
        ) from error


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights that `save_weights` wrote; nothing in the file is executed.

    Raises:
        CheckpointError: the file is broken, or holds something else.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly any type on a truncated or foreign file
        raise CheckpointError(f"weights {path} can't be read: {type(error).__name__}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} holds no weights")
    return weights


def _size(state: Any) -> int:
    """Bytes of all tensors in a state."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        state = list(state.values())
    return sum(map(_size, state)) if isinstance(state, list | tuple) else 0


def _write_whole(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _write(temporary, state)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write(path: Path, state: dict[str, Any]) -> None:
    raw = path.open("wb", buffering=0)
    file = _Remembering(raw)
    try:
        torch.save(state, file)
        file.flush()
        os.fsync(raw.fileno())
    except RuntimeError:
        if file.error is None:
            raise
        raise file.error from None
    finally:
        # Closing the buffered file would try to write what could not be written.
        raw.close()


def path_of(directory: Path, step: int) -> Path:
    """File of a step's checkpoint."""
    return directory / f"step_{step:08d}.pt"


def found(directory: Path) -> list[tuple[int, Path]]:
    """Steps and files of the checkpoints in a directory, the latest first."""
    if not directory.is_dir():
        return []
    named = ((re.fullmatch(r"step_(\d+)\.pt", path.name), path) for path in directory.iterdir())
    return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """A checkpoint's state, tensors only: nothing in the file is executed.

    Every part of the file is held against the CRC that torch wrote with it, which torch itself doesn't look at.

    Raises:
        CheckpointError: the file is broken or damaged, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
        if damaged is not None:
            raise CheckpointError(f"checkpoint {path} is damaged: its content does not match its checksum")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict) or "model" not in state:
            raise CheckpointError(f"checkpoint {path} holds no model")
    except CheckpointError:
        raise
    except Exception as error:  # torch raises nearly any type on a truncated or foreign file
        raise CheckpointError(f"checkpoint {path} can't be read: {type(error).__name__}") from error
    return state
