"""A GPU for each run on a machine: two runs that train at once never get the same one."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

POLL_SECONDS = 1.0


def take_gpu(name: str, folder: Path | None = None) -> FileLock:
    """The lock of the GPU that a process of several has been given; it is not waited for.

    Processes of one run that waited, each for its own GPU, could hold what another run's wait for, and all for ever.

    Raises:
        ValueError: another run holds it.
    """
    lock = _lock(name, folder)
    try:
        lock.acquire(timeout=0)
    except (Timeout, PermissionError):
        raise ValueError(
            f"the GPU {name} of this machine is held by another run, and runs of several processes don't wait for "
            "each other: train one at a time (LANE_B_PARALLEL_RUNS=1 and one slot in the pool training), or give each "
            "its own GPUs with CUDA_VISIBLE_DEVICES"
        ) from None
    return lock


def _lock(name: str, folder: Path | None) -> FileLock:
    place = folder or Path(tempfile.gettempdir())
    return FileLock(place / f"laneb_gpu_{re.sub('[^A-Za-z0-9-]', '_', name)}.lock", mode=0o666)


def lease_gpu(
    names: Sequence[str], say: Callable[[str], None], between: Callable[[], None], folder: Path | None = None
) -> tuple[int, FileLock]:
    """The place of the first GPU that no other run of this machine holds; waits while all are held.

    The lock is the system's, so that it dies with its holder, however that ends.

    Args:
        names: what tells each GPU from all others of the machine, such as its UUID.
        say: told once that all are held.
        between: called before each further look; may raise to give up.
        folder: where the locks lie; None: the machine's temporary folder.

    Returns:
        The place in `names`, and the lock to hold while the GPU is used.
    """
    waits = False
    while True:
        for place, name in enumerate(names):
            lock = _lock(name, folder)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            except PermissionError:  # another user's
                continue
            return place, lock
        if not waits:
            say(f"waits for a GPU: other runs hold all {len(names)} of this machine")
            waits = True
        between()
        time.sleep(POLL_SECONDS)
