"""What tests with servers and daemons share: ports, patience, and an end for all."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(happens: Callable[[], object], seconds: float = 30.0, what: str = "") -> None:
    """Look again until something is so; a test that waits in vain fails and says for what."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or happens}"
        time.sleep(0.02)


def until_up(
    happens: Callable[[], object], daemons: "Mapping[str, subprocess.Popen[bytes]]", folder: Path, seconds: float
) -> None:
    """Wait until daemons are at work, unless one ends; what each printed lies in `folder` under its name."""
    deadline = time.monotonic() + seconds
    while not happens():
        for name, daemon in daemons.items():
            if daemon.poll() is not None:
                raise RuntimeError(f"{name} ended: {(folder / f'{name}.out').read_text()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds} s: {', '.join(daemons)} at work")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def end(process: "subprocess.Popen[str]") -> None:
    """End a process and all that it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
