"""Being told to stop: the run finishes what it is writing, keeps a checkpoint and leaves."""

from __future__ import annotations

import os
import signal
from types import FrameType


class Interrupted(Exception):  # noqa: N818 - an event, not a mistake
    """The run was told to stop; `signal_number` says by what."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


class ProcessLostError(ValueError):
    """Another process of the run ended, or can't be reached any more. Another start goes on without it."""


class StopRequest:
    """Remembers SIGINT and SIGTERM until the loop can act on them.

    Args:
        parent: id of the process that has to stay alive, or None. A run that Dagster started does not outlive it.
    """

    def __init__(self, parent: int | None = None) -> None:
        self.signal_number = 0
        self._parent = parent

    def listen(self) -> None:
        """Take over SIGINT and SIGTERM. Main thread only."""
        signal.signal(signal.SIGINT, self._remember)
        signal.signal(signal.SIGTERM, self._remember)

    def watch(self, parent: int) -> None:
        """Stop as well when this process's parent is no longer `parent`."""
        self._parent = parent

    def requested(self) -> int:
        """The signal that asked to stop, or 0."""
        if not self.signal_number and self._parent is not None and os.getppid() != self._parent:
            self.signal_number = int(signal.SIGTERM)
        return self.signal_number

    def check(self) -> None:
        """Raise `Interrupted` if a stop was asked for."""
        if self.requested():
            raise Interrupted(self.requested())

    def _remember(self, signal_number: int, frame: FrameType | None) -> None:
        self.signal_number = signal_number
