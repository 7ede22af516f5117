"""A run is alive as long as the process that executes it holds a lock: proof that dies with its holder.

A host's name changes with its container, a process's number means nothing on another host, and a wall clock steps; the
kernel gives a lock back when its holder ends, however it ends. The locks lie in the instance's own directory, so each
process that opens the instance there judges alike. Where another machine executes a run, or the file system knows no
locks, there is no file: nothing is known, and nothing is concluded.
"""

import atexit
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

FOLDER = "alive"
"""In the instance's root directory."""

_held: dict[Path, int] = {}
"""Descriptors of this process's locks, by place. One that belongs to a process of a single run is held to its end."""


def hold(instance: dg.DagsterInstance, run_id: str) -> None:
    """Show until the end of this process that a run is alive."""
    place = _place(instance, run_id)
    if place in _held:
        return
    # Locked under a name of its own, then moved to its place: nobody ever finds there a lock that isn't held yet.
    own = place.with_name(f".{place.name}.{os.getpid()}")
    # Without a place to lock nobody concludes anything: worse than proof, better than not to run.
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(own, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            own.rename(place)
        except OSError:
            os.close(descriptor)
            own.unlink(missing_ok=True)
            raise
        _held[place] = descriptor


@contextlib.contextmanager
def alive(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """`hold` a run while the block executes it and puts its end on record; after an error it is found dead."""
    hold(instance, run_id)
    try:
        yield
    except BaseException:
        _let_go(_place(instance, run_id), ended=False)
        raise
    _let_go(_place(instance, run_id))


def is_alive(instance: dg.DagsterInstance, run_id: str) -> bool | None:
    """Whether a process holds the run; None where none ever did that this machine knows of."""
    try:
        descriptor = os.open(_place(instance, run_id), os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def dead_marks(instance: dg.DagsterInstance) -> list[str]:
    """Ids of the runs that a process held which is gone."""
    marks = sorted((Path(instance.root_directory) / FOLDER).glob("*.lock"))
    return [mark.stem for mark in marks if is_alive(instance, mark.stem) is False]


def forget(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove the mark of a run that was found dead and is on record as that."""
    with contextlib.suppress(OSError):
        _place(instance, run_id).unlink()


def _place(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / FOLDER / f"{run_id}.lock"


def _let_go(place: Path, *, ended: bool = True) -> None:
    descriptor = _held.pop(place, None)
    if descriptor is None:
        return
    if ended:
        with contextlib.suppress(OSError):
            place.unlink()
    os.close(descriptor)


@atexit.register
def _let_all_go() -> None:
    for place in list(_held):
        _let_go(place)
