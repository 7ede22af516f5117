"""The command that trains a run: one process, or several under torchrun."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from laneb.knobs import TrainingKnobs


def training_command(spec_path: Path, training: TrainingKnobs) -> list[str]:
    """Arguments that start the training of `spec_path`, wherever they are run.

    With launcher torchrun, `launcher_args` go to it as they are (--nproc-per-node, and for several machines --nnodes,
    --node-rank, --rdzv-endpoint and the like).

    Raises:
        ValueError: arguments that can't be split, given without torchrun, or torchrun with the nanochat backend.
    """
    try:
        arguments = shlex.split(training.launcher_args)
    except ValueError as error:
        raise ValueError(f"LANE_B_LAUNCHER_ARGS={training.launcher_args}: {error}") from error
    module = ["-m", "laneb.training", str(spec_path)]
    if training.launcher == "process":
        if arguments:
            raise ValueError(
                f"LANE_B_LAUNCHER_ARGS={training.launcher_args}: only torchrun takes arguments. Set "
                "LANE_B_LAUNCHER=torchrun, or leave them out"
            )
        return [sys.executable, *module]
    if training.backend == "nanochat":
        raise ValueError(
            "LANE_B_LAUNCHER=torchrun: the nanochat backend starts its own script; use LANE_B_LAUNCHER=process"
        )
    if training.backend == "simulated":
        raise ValueError(
            "LANE_B_LAUNCHER=torchrun: the simulated backend is one process without torch; use LANE_B_LAUNCHER=process"
        )
    return [sys.executable, "-m", "torch.distributed.run", *arguments, *module]
