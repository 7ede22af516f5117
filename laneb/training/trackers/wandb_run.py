"""Weights & Biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from laneb.training.trackers import OFF, PROJECT, tracked_as

if TYPE_CHECKING:
    from pathlib import Path

    from laneb.training.spec import RunSpec


class WandbTracker:
    """A W&B run of a training run; a resumed one goes on under the same id. wandb's own WANDB_MODE=offline holds.

    Raises:
        ValueError: W&B doesn't start.
    """

    name = "wandb"

    def __init__(self, spec: RunSpec, run_dir: Path, base: str) -> None:
        import wandb

        try:
            self._run: Any = wandb.init(
                project=PROJECT,
                name=f"{base}_{spec.run_id}",
                id=f"{base}-{tracked_as(spec)}",
                resume="allow",
                dir=str(run_dir),
                config=spec.model_dump(mode="json"),
            )
        except wandb.Error as error:
            off = "LANE_B_TRACKERS without wandb" if spec.wandb_run_base == OFF else f"LANE_B_WANDB_RUN_BASE={OFF}"
            raise ValueError(
                f"W&B doesn't start: {error} Set WANDB_MODE=offline to keep its files here, or {off} to do without"
            ) from error
        # A run that is offline has no address, only files.
        self.link = getattr(self._run, "url", None) or "wandb"

    def begin(self, step: int) -> None:
        """Nothing: of a step that an earlier start logged already, W&B keeps the first numbers, which are the same."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Numbers of a step."""
        self._run.log(numbers, step=step)

    def flush(self) -> None:
        """Nothing: W&B's own process has them."""

    def close(self, status: str) -> None:
        """Upload what is left."""
        self._run.finish()
