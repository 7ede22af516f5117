"""A command in a terminal of its own, as a person has one: typed to, and read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CTRL_C = "\x03"
_PIECE = re.compile(r"\x1b\[(?P<number>[0-9;?]*)(?P<order>[A-Za-z])|\r|\n|[^\x1b\r\n]+")


class InTerminal:
    """A process with a pseudo-terminal of 50 rows; `settings` are the terminal's before it started."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, columns: int = 200
    ) -> None:
        self._ours, self._terminal = pty.openpty()
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.settings = self.settings_now()
        self._read, self._over = bytearray(), threading.Event()
        self.process = subprocess.Popen(
            command,
            env={**environment, "TERM": "xterm"},
            cwd=folder,
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def settings_now(self) -> list[Any]:
        """How the terminal is set: echo, line by line, and so on."""
        return termios.tcgetattr(self._terminal)

    def type(self, text: str) -> None:
        """What a person's keyboard sends."""
        os.write(self._ours, text.encode())

    def wait(self, seconds: float) -> int:
        """The exit status, once all is read."""
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self._over.set()
            self._reader.join()
            for descriptor in (self._ours, self._terminal):
                os.close(descriptor)

    def lines(self, *, since: str = "") -> list[str]:
        """The lines that a person sees of what it printed, or of what it printed since some text."""
        text = self._read.decode(errors="replace")
        return seen(text.partition(since)[2] if since else text)

    def _follow(self) -> None:
        while True:
            ready, _, _ = select.select([self._ours], [], [], 0.1)
            if ready:
                self._read += os.read(self._ours, 65536)
            elif self._over.is_set():
                return


def _take_terminal() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def seen(printed: str) -> list[str]:
    """The lines that a terminal shows of what was printed, the empty ones left out: those erased or written over later
    are gone.

    It knows a line's start and end, going up, and erasing; whatever else moves the cursor or colours is left out.
    """
    rows, row, column = [""], 0, 0
    for piece in _PIECE.finditer(printed):
        match piece["order"], piece[0]:
            case None, "\r":
                column = 0
            case None, "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            case None, text:
                rows[row] = rows[row][:column].ljust(column) + text + rows[row][column + len(text) :]
                column += len(text)
            case "A", _:
                row = max(0, row - int(piece["number"] or 1))
            case "K", _:
                rows[row] = "" if piece["number"] == "2" else rows[row][:column]
            case _:
                pass
    return [line.rstrip() for line in rows if line.strip()]
