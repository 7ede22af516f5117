"""Where a run's numbers go beside its own files: W&B, TensorBoard files, MLflow, for those who ask for them.

The training process writes them itself, so they come from wherever the run trains. A resumed run goes on where its
checkpoint was, and no step stands twice.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from laneb.training.spec import RunSpec

OFF = "dummy"
PROJECT = "laneb"
PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow-skinny"}
"""What to install for each tracker: the modules are called as the trackers are."""


class Tracker(Protocol):
    """One place that gets a run's numbers."""

    name: str
    link: str
    """Where they are seen: a URL, or a path, which is the run directory's if it is relative."""

    def begin(self, step: int) -> None:
        """The run begins at step 0, or goes on from a later one: what is known of that step and later comes again."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Numbers of a step."""

    def flush(self) -> None:
        """Write out what was logged: a checkpoint is made, from which another start may go on."""

    def close(self, status: str) -> None:
        """The run has ended with a status, or stopped."""


def check_trackers(names: Sequence[str], wandb_run_base: str = OFF) -> None:
    """Make sure that the trackers asked for can work, before anything is trained.

    Raises:
        ValueError: the package of one is not installed.
    """
    asked = dict.fromkeys(names, f"LANE_B_TRACKERS={','.join(names)}")
    if wandb_run_base != OFF:
        asked["wandb"] = f"LANE_B_WANDB_RUN_BASE={wandb_run_base}"
    for name, said in asked.items():
        if importlib.util.find_spec(name) is None:
            off = f"LANE_B_WANDB_RUN_BASE={OFF}" if "RUN_BASE" in said else "LANE_B_TRACKERS without it"
            raise ValueError(
                f"{said}: the package {PACKAGES[name]} is not installed. "
                f"Install it with: {sys.executable} -m pip install {PACKAGES[name]}, or set {off}"
            )


def check_reach(names: Sequence[str]) -> None:
    """Make sure that trackers get somewhere from a machine whose folders are dropped after the run.

    Raises:
        ValueError: MLflow has no server to tell.
    """
    if "mlflow" in names and importlib.util.find_spec("mlflow") is not None:
        from laneb.training.trackers.mlflow_run import has_server

        if not has_server():
            raise ValueError(
                "LANE_B_TRACKERS=mlflow: on another machine, or with files in a bucket, MLflow needs a server. Set "
                "MLFLOW_TRACKING_URI to its address where the run trains"
            )


def wandb_base(spec: RunSpec) -> str | None:
    """How the names of W&B runs begin; None where W&B is off."""
    if spec.wandb_run_base != OFF:
        return spec.wandb_run_base
    return PROJECT if "wandb" in spec.trackers else None


def tracked_as(spec: RunSpec) -> str:
    """What a tracker finds a run by that goes on; a repeated one is another, whose numbers and pace are its own."""
    return spec.fingerprint if spec.attempt == 1 else f"{spec.fingerprint}.attempt-{spec.attempt}"


def first_line(error: Exception) -> str:
    """What an error says, without the pages that packages put behind it."""
    return str(error).partition("\n")[0]


class Trackers:
    """All trackers of a run. One that fails while the run trains is left alone from then on, with a sentence: numbers
    that nobody draws are no reason to lose a run.

    Args:
        trackers: those that the run has.
    """

    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self._trackers = list(trackers)

    @property
    def links(self) -> dict[str, str]:
        """Where each is seen, by its name."""
        return {tracker.name: tracker.link for tracker in self._trackers}

    def begin(self, step: int) -> list[str]:
        """As `Tracker.begin`; gives a sentence for each that failed. So do the others."""
        return list(self._each(lambda tracker: tracker.begin(step)))

    def log(self, step: int, numbers: dict[str, float]) -> list[str]:
        """As `Tracker.log`."""
        return list(self._each(lambda tracker: tracker.log(step, numbers)))

    def flush(self) -> list[str]:
        """As `Tracker.flush`."""
        return list(self._each(lambda tracker: tracker.flush()))

    def close(self, status: str) -> list[str]:
        """As `Tracker.close`."""
        return list(self._each(lambda tracker: tracker.close(status)))

    def _each(self, call: Callable[[Tracker], None]) -> Iterator[str]:
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                yield f"{tracker.name} gets no more numbers of this run: {type(error).__name__}: {first_line(error)}"


def trackers_of(spec: RunSpec, run_dir: Path, *, but: Sequence[str] = ()) -> Trackers:
    """The trackers that a spec asks for, but those that the training script has itself.

    Raises:
        ValueError: the package of one is not installed, or one doesn't start.
    """
    base = None if "wandb" in but else wandb_base(spec)
    names = [name for name in spec.trackers if name not in but]
    check_trackers(names, OFF if base is None else spec.wandb_run_base)
    made: list[Tracker] = []
    # Only the one that is asked for is imported: MLflow takes a second.
    if base is not None:
        from laneb.training.trackers.wandb_run import WandbTracker

        made.append(WandbTracker(spec, run_dir, base))
    if "tensorboard" in names:
        from laneb.training.trackers.tensorboard_files import TensorBoardTracker

        made.append(TensorBoardTracker(run_dir))
    if "mlflow" in names:
        from laneb.training.trackers.mlflow_run import MlflowTracker

        made.append(MlflowTracker(spec, run_dir))
    return Trackers(made)
