"""Whatever a command starts: SkyPilot, ssh, kubectl."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from laneb.engines.engine import EngineError, EngineSilentError, State, ask, said, words

if TYPE_CHECKING:
    from laneb.places import AnyPath

PASSED_ON = re.compile(r"(AWS|FSSPEC|GOOGLE|AZURE)_\w+")
"""Variables that a bucket's driver reads: what {environment} stands for."""


class Command:
    """Templates of commands, split as a shell does and run without one.

    Args:
        start: with {command} and perhaps {name} and {environment}. Without `look`, the job lives as long as this
            command; with it, the command hands the job over and ends.
        look: ends with 0 while the job is queued or runs, and with 1 when it ended or is unknown.
        stop: cancels the job; without it, the starting command gets SIGTERM.

    Raises:
        EngineError: no {command}, or a placeholder that isn't known.
    """

    def __init__(self, start: str, look: str = "", stop: str = "") -> None:
        if "{command}" not in start:
            raise EngineError(
                f"LANE_B_ENGINE_ARGS={start}: engine command takes the command that starts a job, with {{command}} in "
                "it, such as: ssh box {command}"
            )
        self._start, self._look, self._stop = start, look, stop
        for template in (start, look, stop):
            _filled(template, "name", ())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, name: str, command: Sequence[str], output: AnyPath) -> str:
        """Run the starting command."""
        filled = _filled(self._start, name, command)
        if self._look:
            done = ask(filled)
            if done.returncode:
                raise EngineError(f"{filled[0]} refused {name}: {said(done)}. Check LANE_B_ENGINE_ARGS")
            return f"{filled[0]} job {name}"
        try:
            process = subprocess.Popen(filled, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except OSError as error:
            raise EngineError(f"{filled[0]}: {error.strerror or error}. Check LANE_B_ENGINE_ARGS") from error
        self._processes[name] = process
        return f"{filled[0]}, process {process.pid} here"

    def state(self, name: str) -> State:
        """By the command that looks, else whether the starting command still runs."""
        if self._look:
            done = ask(_filled(self._look, name, ()))
            if done.returncode > 1:
                raise EngineSilentError(f"LANE_B_ENGINE_STATE: {said(done)}")
            return "running" if done.returncode == 0 else "ended"
        process = self._processes.get(name)
        if process is None:
            return "absent"
        return "running" if process.poll() is None else "ended"

    def cancel(self, name: str, *, at_once: bool = False) -> None:
        """By the command that stops, else SIGTERM to the starting one."""
        if self._stop:
            done = ask(_filled(self._stop, name, ()))
            if done.returncode > 1:
                raise EngineSilentError(f"LANE_B_ENGINE_CANCEL: {said(done)}")
        elif (process := self._processes.get(name)) is not None and process.poll() is None:
            process.terminate()


def _filled(template: str, name: str, command: Sequence[str]) -> list[str]:
    """A template's words. A word that is {command} alone becomes the command's words, as ssh and kubectl want; within a
    word it is one quoted text, as `bash -c` wants."""
    environment = [f"{key}={value}" for key, value in sorted(os.environ.items()) if PASSED_ON.fullmatch(key)]
    whole = {"{command}": list(command), "{environment}": environment, "{name}": [name]}
    filled: list[str] = []
    for word in words(template):
        if word in whole:
            filled += whole[word]
            continue
        if unknown := [found for found in re.findall(r"\{[a-z_]+\}", word) if found not in whole]:
            raise EngineError(f"{template}: {unknown[0]} is unknown; there are {{command}}, {{name}}, {{environment}}")
        for key, values in whole.items():
            word = word.replace(key, shlex.join(values))
        filled.append(word)
    return filled
