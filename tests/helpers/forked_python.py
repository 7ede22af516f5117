"""`python` several times for one start of it: each a fork of a process that has imported what they all need.

    forked = ForkedPython("laneb.training.loop")
    process = forked.start("-m", "laneb.training", "RUN_DIR/spec.json")

A fork is a process like any other: it has an id, signals and limits of its own, and ends as Python does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

MESSAGE = 1 << 20


class Forked:
    """A process that was forked, as `subprocess.Popen` would show it."""

    def __init__(self, stdout: TextIO, stderr: TextIO, status: TextIO) -> None:
        self.stdout, self.stderr, self._status = stdout, stderr, status
        self.pid = int(status.readline())
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """How it ended, as `Popen.returncode` says it."""
        if self.returncode is None:
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """What is left of what it printed."""
        printed = self.stdout.read()
        self.wait()
        self.stderr.seek(0)
        errors = self.stderr.read()
        self.stdout.close()
        self.stderr.close()
        return printed, errors


class ForkedPython:
    """A process that forks one with each start; it ends with the one that made it.

    Args:
        modules: what it imports first. None may start threads.
    """

    def __init__(self, *modules: str) -> None:
        self._asks, answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with answers:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(answers.fileno()), *modules],
                pass_fds=[answers.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        largest_file: int | None = None,
    ) -> Forked:
        """Start what `python ARGUMENTS` would.

        Args:
            arguments: `-m MODULE ...`, `-c PROGRAM ...` or `SCRIPT ...`
            environment: its whole environment, this process's by default.
            folder: where it runs, by default where this process does.
            largest_file: no file of it may grow beyond [bytes].
        """
        stderr = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - the process that is started has it
        (read_stdout, stdout), (read_status, status) = os.pipe(), os.pipe()
        wanted = {
            "arguments": arguments, "folder": str(folder or Path.cwd()), "largest_file": largest_file,
            "environment": dict(os.environ if environment is None else environment),
        }  # fmt: skip
        socket.send_fds(self._asks, [json.dumps(wanted).encode()], [stdout, stderr.fileno(), status])
        os.close(stdout)
        os.close(status)
        return Forked(os.fdopen(read_stdout), stderr, os.fdopen(read_status))

    def end(self) -> None:
        """Those that it started go on."""
        self._asks.close()
        self._process.wait()


def asked(answers: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """What to start, and the files for its output, its errors and how it ends."""
    while True:
        message, files, _, _ = socket.recv_fds(answers, MESSAGE, 3)
        if not message:
            return
        yield json.loads(message), files


def serve(answers: socket.socket) -> dict[str, Any] | None:
    """Fork for each that is asked for; gives what to be in the process that is to be it, and None at the end."""
    for wanted, (stdout, stderr, status) in asked(answers):
        if os.fork() == 0:
            answers.close()
            child = os.fork()
            if child == 0:
                os.close(status)
                os.dup2(stdout, 1)
                os.dup2(stderr, 2)
                for file in (stdout, stderr):
                    os.close(file)
                return wanted
            _wait_for(child, (stdout, stderr), status)
        for file in (stdout, stderr, status):
            os.close(file)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return None


def _wait_for(child: int, files: tuple[int, ...], status: int) -> None:
    """Tell who it is and how it ended, from a process that does nothing else."""
    for file in files:
        os.close(file)
    os.write(status, f"{child}\n".encode())
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(status, f"{ended}\n".encode())
    os._exit(0)


def be(wanted: dict[str, Any]) -> NoReturn:
    """Be what `python ARGUMENTS` would be; at its end it takes no modules apart, which takes long."""
    status = 1
    try:
        become(wanted)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def become(wanted: dict[str, Any]) -> None:
    """Run what the arguments name, with what was asked for around it."""
    arguments, environment = wanted["arguments"], wanted["environment"]
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(wanted["folder"])
    sys.path[:0] = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    importlib.invalidate_caches()
    if wanted["largest_file"] is not None:
        # Python up to 3.11 takes a half-written .pyc for a whole one, and fails at the next import of the module.
        sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted["largest_file"],) * 2)
    kind, *rest = arguments
    sys.argv = [kind, *rest[1:]] if kind in ("-m", "-c") else [*arguments]
    if kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    for module in sys.argv[2:]:
        importlib.import_module(module)
    # Else each fork's first collection looks through all of it, and copies it as it does.
    gc.freeze()
    found = serve(socket.socket(fileno=int(sys.argv[1])))
    if found is not None:
        be(found)
