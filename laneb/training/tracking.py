"""Weights & Biases, for those who ask for it."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from laneb.training.spec import RunSpec

OFF = "dummy"
PROJECT = "laneb"


def check_tracking(wandb_run_base: str) -> None:
    """Make sure that the tracking asked for can work, before anything is trained.

    Raises:
        ValueError: W&B is asked for and not installed.
    """
    if wandb_run_base != OFF and importlib.util.find_spec("wandb") is None:
        raise ValueError(
            f"LANE_B_WANDB_RUN_BASE={wandb_run_base}: the package wandb is not installed. "
            f"Install it with: {sys.executable} -m pip install wandb, or set LANE_B_WANDB_RUN_BASE={OFF}"
        )


class Tracker:
    """A W&B run of a training run; a resumed one goes on under the same id. wandb's own WANDB_MODE=offline holds.

    Raises:
        ValueError: W&B is not installed, or doesn't start.
    """

    def __init__(self, spec: RunSpec, run_dir: Path) -> None:
        check_tracking(spec.wandb_run_base)
        import wandb

        try:
            self._run: Any = wandb.init(
                project=PROJECT,
                name=f"{spec.wandb_run_base}_{spec.run_id}",
                id=f"{spec.wandb_run_base}-{spec.fingerprint}",
                resume="allow",
                dir=str(run_dir),
                config=spec.model_dump(mode="json"),
            )
        except wandb.Error as error:
            raise ValueError(
                f"LANE_B_WANDB_RUN_BASE={spec.wandb_run_base}: W&B doesn't start: {error} "
                f"Set WANDB_MODE=offline to keep its files here, or LANE_B_WANDB_RUN_BASE={OFF} to do without"
            ) from error

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Numbers of a step; of one that an earlier start logged already, W&B keeps the first."""
        self._run.log(numbers, step=step)

    def close(self) -> None:
        """Upload what is left."""
        self._run.finish()


def tracker_for(spec: RunSpec, run_dir: Path) -> Tracker | None:
    """The tracker that a spec asks for, or None."""
    return None if spec.wandb_run_base == OFF else Tracker(spec, run_dir)
