"""What an engine is, and which one the settings name."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from laneb.knobs import EngineKnobs
    from laneb.places import AnyPath

State = Literal["queued", "running", "ended", "cancelled", "absent", "unstarted"]
"""`cancelled`: by a person, on the engine. `absent`: not known to the engine, or forgotten since it ended. `unstarted`:
it waited in the queue for as long as the engine lets a job wait, and was dropped."""

COMMAND_SECONDS = 60.0


class EngineError(ValueError):
    """The engine can't be used, or did not do what it was asked, with what to do."""


class EngineSilentError(EngineError):
    """The engine does not answer at the moment: jobs go on without it, so asking again later is right."""


class Engine(Protocol):
    """Starts a command elsewhere. A job's name is its identity: it is known before the job is."""

    def submit(self, name: str, command: Sequence[str], output: AnyPath) -> str:
        """Start `command` as the job `name`, its standard output in `output` where the engine can write there.

        Returns:
            What people find the job by, such as "Slurm job 17".

        Raises:
            EngineError: refused, with the engine's own words.
        """
        ...

    def state(self, name: str) -> State:
        """How the job is.

        Raises:
            EngineSilentError: the engine does not answer at the moment.
        """
        ...

    def cancel(self, name: str, *, at_once: bool = False) -> None:
        """Tell the job to stop: it gets SIGTERM and time for a checkpoint, unless it is to end at once. A job that
        isn't there is no error.

        Raises:
            EngineSilentError: the engine does not answer at the moment.
        """
        ...


def engine_for(knobs: EngineKnobs, role: str = "") -> Engine:
    """The engine that the settings name, with its arguments for runs of a role.

    Args:
        knobs: the settings.
        role: "baseline", "calibration" or "candidate".

    Raises:
        EngineError: arguments that the engine can't take.
    """
    arguments = knobs.arguments(role)
    if knobs.engine == "slurm":
        from laneb.engines.slurm import Slurm

        return Slurm(words(arguments))
    if knobs.engine == "ray":
        from laneb.engines.ray import Ray

        return Ray.of(knobs.address, words(arguments))
    if knobs.engine == "command":
        from laneb.engines.command import Command

        return Command(arguments, knobs.state_command, knobs.cancel_command)
    from laneb.engines.local import Local

    return Local()


def words(arguments: str) -> tuple[str, ...]:
    """Arguments as a shell splits them."""
    try:
        return tuple(shlex.split(arguments))
    except ValueError as error:
        raise EngineError(f"LANE_B_ENGINE_ARGS={arguments}: {error}") from error


def ask(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of the engine's own commands.

    Raises:
        EngineError: there is no such command here.
        EngineSilentError: it did not end in time.
    """
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    except FileNotFoundError as error:
        raise EngineError(
            f"{command[0]}: no such command here. Run on a machine of the cluster that has it, or set LANE_B_ENGINE."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EngineSilentError(f"{command[0]} did not answer within {COMMAND_SECONDS:g} s") from error


def said(process: subprocess.CompletedProcess[str]) -> str:
    """What a command said that failed, on one line."""
    return " ".join((process.stderr or process.stdout).split()) or f"exit status {process.returncode}"
