"""Who trains a run: our loop, a checkout's script, or a loss surface. Each is a module with a `train` of one shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from laneb.training.interruption import StopRequest

if TYPE_CHECKING:
    from laneb.training.spec import RunSpec


def train(spec: RunSpec, run_dir: Path, stop: StopRequest) -> None:
    """Do what is left of a run with its backend; under torchrun each process does its part.

    Writes `train.log`, `events.jsonl` and, when the run is done, `result.json` into `run_dir`.

    Raises:
        RunHeldError: another process trains it.
        Interrupted: told to stop.
        ValueError: it can't be trained so; the message says why.
    """
    spec = spec.resolved_here()
    # Only the one that trains is imported: ours needs torch, which takes seconds.
    if spec.backend == "nanochat":
        from laneb.training.backends import nanochat

        nanochat.train(spec, run_dir, stop)
    elif spec.backend == "simulated":
        from laneb.training.backends import simulated

        simulated.train(spec, run_dir, stop)
    else:
        from laneb.training.backends import builtin

        builtin.train(spec, run_dir, stop)
