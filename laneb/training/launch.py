"""The command that trains a run: one process, or several under torchrun."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from laneb.corpus.checkout import CheckoutError
from laneb.knobs import TrainingKnobs


def training_command(spec_path: Path, training: TrainingKnobs) -> list[str]:
    """Arguments that start the training of `spec_path`, wherever they are run.

    With launcher torchrun, `launcher_args` go to it as they are (--nproc-per-node, and for several machines --nnodes,
    --node-rank, --rdzv-endpoint and the like). A checkout's own script is started so by our process, which is one.

    Raises:
        ValueError: arguments that can't be split, given without torchrun, or torchrun with the simulated backend.
    """
    arguments = torchrun_arguments(training)
    module = ["-m", "laneb.training", str(spec_path)]
    if training.launcher == "process" or training.backend == "nanochat":
        return [sys.executable, *module]
    if training.backend == "simulated":
        raise ValueError(
            "LANE_B_LAUNCHER=torchrun: the simulated backend is one process without torch; use LANE_B_LAUNCHER=process"
        )
    return [sys.executable, "-m", "torch.distributed.run", *arguments, *module]


def torchrun_arguments(training: TrainingKnobs) -> tuple[str, ...]:
    """What torchrun is given; nothing where it isn't used.

    Raises:
        ValueError: arguments that can't be split, or given without torchrun.
    """
    try:
        arguments = tuple(shlex.split(training.launcher_args))
    except ValueError as error:
        raise ValueError(f"LANE_B_LAUNCHER_ARGS={training.launcher_args}: {error}") from error
    if arguments and training.launcher != "torchrun":
        raise ValueError(
            f"LANE_B_LAUNCHER_ARGS={training.launcher_args}: only torchrun takes arguments. Set "
            "LANE_B_LAUNCHER=torchrun, or leave them out"
        )
    return arguments


def refuse_on_cpu(device: str) -> None:
    """A checkout under torchrun needs GPUs.

    Raises:
        CheckoutError: the device is a CPU.
    """
    if device == "cpu":
        raise CheckoutError(
            "LANE_B_LAUNCHER=torchrun: on a CPU a checkout's processes train apart, each on a share of the batch, and "
            "one of them passes for the whole. Use LANE_B_LAUNCHER=process, or a GPU"
        )


def processes_of(arguments: Sequence[str]) -> int:
    """How many processes torchrun starts with its arguments, on one machine: the world size.

    Raises:
        ValueError: they don't say a number, or are for several machines.
    """
    said = {"nproc_per_node": "1", "nnodes": "1"}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if name in said:
            said[name] = value if equals else next(words, "")
    if said["nnodes"] not in ("1", "1:1"):
        raise ValueError(
            f"LANE_B_LAUNCHER_ARGS: --nnodes={said['nnodes']}, but a nanochat checkout is trained on one machine here"
        )
    if not said["nproc_per_node"].isdigit() or int(said["nproc_per_node"]) < 1:
        raise ValueError(
            f"LANE_B_LAUNCHER_ARGS: --nproc_per_node={said['nproc_per_node']}: say how many, since the number of "
            "processes decides which rows a checkout reads and validates on"
        )
    return int(said["nproc_per_node"])
