"""`laneb` several times for one start of Python: each a fork of a process that has imported what the verbs need.

    python forked_laneb.py [VERB,...]

reads a command a line, `{"arguments": [...], "environment": {...}, "folder": "..."}`, and prints a line of how it
ended: `{"status": 2, "said": "...", "errors": "..."}`. What a command doesn't say is as this process has it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

VERBS = ("doctor", "run", "summary", "report", "watch", "log")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    said: str
    errors: str


def import_verbs(verbs: Iterable[str] = VERBS) -> None:
    """Import what these verbs do, so that each fork has it."""
    for verb in verbs:
        importlib.import_module(f"laneb_assets.commands.{verb}")
        if verb == "run":
            importlib.import_module("laneb_assets.instance")
            importlib.import_module("laneb_assets.lane_run.walk")


def laneb(arguments: Sequence[str], environment: Mapping[str, str], folder: str | None = None) -> Done:
    """The command in a fork of this process, which has no threads yet."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            if folder is not None:
                os.chdir(folder)
            _become_laneb(arguments, environment, said.fileno(), errors.fileno())
        _, status = os.waitpid(child, 0)
        for file in (said, errors):
            file.seek(0)
        return Done(os.waitstatus_to_exitcode(status), said.read().decode(), errors.read().decode())


def _become_laneb(arguments: Sequence[str], environment: Mapping[str, str], said: int, errors: int) -> None:
    status = 70
    try:
        os.dup2(said, 1)
        os.dup2(errors, 2)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        from laneb_assets.cli import main

        try:
            main([*arguments])
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    finally:
        os._exit(status)


def serve() -> None:
    """Answer commands until there are no more."""
    for line in sys.stdin:
        one = json.loads(line)
        environment = one.get("environment")
        done = laneb(one["arguments"], os.environ.copy() if environment is None else environment, one.get("folder"))
        print(json.dumps(asdict(done)), flush=True)


if __name__ == "__main__":
    import_verbs(sys.argv[1].split(",") if len(sys.argv) > 1 else VERBS)
    serve()
