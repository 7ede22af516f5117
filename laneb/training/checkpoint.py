"""Checkpoints: written whole or not at all, the last two kept, a broken one passed over."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import Any

import torch

KEPT = 2


class CheckpointError(ValueError):
    """A checkpoint that can't be written, with the path and what to do."""


def save(directory: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `directory/step_<step>.pt` and drop all but the last two.

    Raises:
        CheckpointError: the disk is full or the directory is not writable; older checkpoints are untouched.
    """
    path = path_of(directory, step)
    temporary = directory / f".{path.name}.tmp"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else str(error)
        older = [kept for kept, _ in found(directory)]
        consequence = f"step {older[0]} is still there to resume from" if older else "there is no older one"
        raise CheckpointError(
            f"checkpoint {path} can't be written: {reason}; {consequence}. Free some space and start the run again"
        ) from error
    for _, old in found(directory)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


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

    Raises:
        CheckpointError: the file is broken, or holds something else.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict) or "model" not in state:
            raise CheckpointError(f"checkpoint {path} holds no model")
    except CheckpointError:
        raise
    except Exception as error:  # torch raises nearly any type on a truncated or foreign file
        raise CheckpointError(f"checkpoint {path} can't be read: {type(error).__name__}") from error
    return state
