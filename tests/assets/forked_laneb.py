"""`laneb` several times for one start of Python: each a fork of a process that has imported what the verbs need.

    python forked_laneb.py MODULE,... < '[{"arguments": [...], "environment": {...}}, ...]'

prints how each ended: `[{"status": 2, "said": "...", "errors": "..."}, ...]`.
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


def laneb(arguments: Sequence[str], environment: Mapping[str, str]) -> Done:
    """The command in a fork of this process, which has no threads yet."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
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


if __name__ == "__main__":
    import_verbs(sys.argv[1].split(",") if len(sys.argv) > 1 else VERBS)
    asked = json.load(sys.stdin)
    print(json.dumps([asdict(laneb(one["arguments"], {**os.environ, **one.get("environment", {})})) for one in asked]))
