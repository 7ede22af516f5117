"""This machine: a process that does not outlive the one that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from laneb.engines.engine import State

if TYPE_CHECKING:
    from laneb.places import AnyPath


class Local:
    """Processes of this one."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, name: str, command: Sequence[str], output: AnyPath) -> str:
        """Start a process."""
        arguments = [*command, "--parent", str(os.getpid())]
        self._processes[name] = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return f"process {self._processes[name].pid}"

    def state(self, name: str) -> State:
        """Known of this process's own jobs alone: others ended with the process that started them."""
        process = self._processes.get(name)
        if process is None:
            return "absent"
        return "running" if process.poll() is None else "ended"

    def cancel(self, name: str, *, at_once: bool = False) -> None:
        """SIGTERM, or SIGKILL."""
        if (process := self._processes.get(name)) is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
