"""A process that ends with the one that started it: `python -m laneb_assets.web.child MODULE [ARGUMENT ...]`.

A kill -9 reaches one process alone; its web server and daemon would live on, hold the port and start runs.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading

import psutil

LOOK_SECONDS = 0.5
GRACE_SECONDS = 10


def end_with_parent(grace_seconds: float) -> None:
    """Stop this process as Ctrl-C does when its parent is gone, and for good when that takes too long."""
    parent = os.getppid()
    # What a shell starts in the background ignores SIGINT, and so do its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(grace_seconds)
        end_group()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def end_group() -> None:
    """Kill what is left of this process's group: a code server whose own parent was killed belongs to nobody else."""
    group = os.getpgrp()
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if process.pid != os.getpid() and os.getpgid(process.pid) == group:
                process.kill()


def main() -> None:
    """Run a module as `python -m` does."""
    end_with_parent(GRACE_SECONDS)
    module = sys.argv[1]
    sys.argv[:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
