"""A run's directory as all machines see it, in a folder or a bucket: always such that another can go on from it.

A checkpoint holds how long log and events were when it was made, and a run that goes on from it cuts them there. So
what a checkpoint needs of them is published before it, the checkpoint next, and the result last of all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.places import is_folder_path
from laneb.records.runs import RunResult
from laneb.storage import shared
from laneb.storage.lease import Lease
from laneb.training.run_directory import (
    CHECKPOINTS,
    EVENTS,
    LOG,
    RESULT,
    SPEC,
    WEIGHTS,
    attempt_name,
    prepare_held,
    read_result,
)
from laneb.training.spec import RunSpec
from laneb.training.trackers.tensorboard_files import FOLDER

if TYPE_CHECKING:
    from laneb.places import AnyPath

CHECKOUT_CHECKPOINTS = "nanochat/base_checkpoints"
"""Where a nanochat checkout's script keeps its checkpoints, in the run's own base directory."""

TEXTS = (LOG, EVENTS)


def leases(run: AnyPath) -> AnyPath:
    """Folder of a run's leases: beside its directory, which may be set aside while they go on."""
    return run.parent / ".leases" / run.name


def node_lease(run: AnyPath, seconds: float, holder: str | None = None) -> Lease:
    """Who trains the run."""
    return Lease(leases(run) / "training", seconds, holder=holder, what=str(run))


def coordinator_lease(run: AnyPath, seconds: float) -> Lease:
    """Who submits the run and follows it."""
    return Lease(leases(run) / "coordinator", seconds, what=f"the coordination of {run}")


def checkpoint_step(run: AnyPath) -> int:
    """Step of the latest published checkpoint; 0 where there is none."""
    stems = [name.removesuffix(".pt").removeprefix("step_") for name in shared.names(run / CHECKPOINTS)]
    checkout = [Path(name).stem.removeprefix("model_") for name in shared.names_below(run / CHECKOUT_CHECKPOINTS)]
    return max((int(stem) for stem in [*stems, *checkout] if stem.isdigit()), default=0)


def prepare_published(run: AnyPath, spec: RunSpec, mirror: Path) -> None:
    """Make a directory ready for a spec; another run's files there are set aside as `<name>.<its fingerprint>`.

    For the one who coordinates the run. In a bucket a directory moves file by file, its spec last, so that a move that
    is cut off is gone on with.
    """
    prepare_held(mirror, spec)
    if is_folder_path(run):
        return
    present = _fingerprint(run)
    if present not in (None, spec.fingerprint):
        _move(run, run.with_name(f"{run.name}.{present}"))
        present = None
    earlier = _result(run)
    if present is not None and earlier is not None and earlier.attempt < spec.attempt:
        _move(run, run.with_name(attempt_name(run.name, earlier)))
        present = None
    kept = run.with_name(f"{run.name}.{spec.fingerprint}")
    if present is None and _fingerprint(kept) == spec.fingerprint:
        _move(kept, run)
    if _fingerprint(run) is None:
        shared.replace(run / SPEC, spec.to_json().encode())


def _fingerprint(run: AnyPath) -> str | None:
    data = shared.read_or_none(run / SPEC)
    try:
        return None if data is None else RunSpec.model_validate_json(data).fingerprint
    except ValueError:
        return "unknown"


def _result(run: AnyPath) -> RunResult | None:
    data = shared.read_or_none(run / RESULT)
    try:
        return None if data is None else RunResult.from_json(data.decode())
    except ValueError:
        return None


def _move(source: AnyPath, target: AnyPath) -> None:
    names = shared.names_below(source)
    for name in sorted(names, key=lambda name: name == SPEC):
        shared.move(source / name, target / name)


def finished(run: AnyPath, spec: RunSpec, mirror: Path) -> RunResult | None:
    """The published result of a spec's run, or None while there is none.

    Args:
        run: the published directory.
        spec: the run.
        mirror: a directory of this machine, where a bucket's log, events and result are then copied to.
    """
    if is_folder_path(run):
        return read_result(run, spec)
    known = read_result(mirror, spec)
    if known is not None or shared.read_or_none(run / RESULT) is None:
        return known
    prepare_held(mirror, spec)
    for name in (*TEXTS, RESULT):
        shared.download(run / name, mirror / name)
    return read_result(mirror, spec)


def fetch(run: AnyPath, target: Path) -> None:
    """Copy to this machine what a start goes on from: checkpoints, log and events."""
    wanted = [name for name in shared.names(run) if name in TEXTS]
    for folder in (CHECKPOINTS, CHECKOUT_CHECKPOINTS):
        wanted += [f"{folder}/{name}" for name in shared.names_below(run / folder)]
    for name in wanted:
        shared.download(run / name, target / name)


class Publisher:
    """Copies a run's directory from a node's scratch to where all see it, as long as the node holds the lease.

    Args:
        source: the directory in scratch.
        run: the published one.
        lease: looked at before each file.
    """

    def __init__(self, source: Path, run: AnyPath, lease: Lease) -> None:
        self._source, self._run, self._lease = source, run, lease
        self._sent: dict[str, tuple[int, int]] = {}
        for name in self._kept():
            self._sent[name] = self._state(name)

    def publish(self, *, whole_log: bool = False) -> None:
        """Copy what is new.

        Args:
            whole_log: the log too where no checkpoint needs it, and TensorBoard's files: they grow long, and are copied
                whole each time.

        Raises:
            LeaseLostError: another took over; nothing more was written.
            StorageError: the place does not answer.
        """
        new = [name for name in self._kept() if self._state(name) != self._sent.get(name)]
        for name in TEXTS if new or whole_log else (EVENTS,):
            self._send_text(name)
        drawn = [name for name in self._drawn() if self._state(name) != self._sent.get(name)] if whole_log else []
        for name in [*new, *drawn]:
            state = self._state(name)
            self._lease.check()
            try:
                shared.upload(self._source / name, self._run / name)
            except FileNotFoundError:
                continue  # a later checkpoint replaced it meanwhile
            self._sent[name] = state
        if new:
            self._tidy()

    def finish(self) -> None:
        """Publish the rest, the result as the last, and drop the checkpoints that the run dropped then.

        Raises:
            LeaseLostError, StorageError: as `publish`.
        """
        self.publish(whole_log=True)
        self._lease.check()
        shared.upload(self._source / RESULT, self._run / RESULT)
        self._tidy()

    def _send_text(self, name: str) -> None:
        try:
            data = (self._source / name).read_bytes()
        except FileNotFoundError:
            return
        data = data[: data.rfind(b"\n") + 1]
        if self._sent.get(name) != (len(data), 0):
            self._lease.check()
            shared.replace(self._run / name, data)
            self._sent[name] = len(data), 0

    def _tidy(self) -> None:
        """Drop the published checkpoints that the run itself has dropped."""
        here = set(self._kept())
        for folder in (CHECKPOINTS, CHECKOUT_CHECKPOINTS):
            for name in shared.names_below(self._run / folder):
                if f"{folder}/{name}" not in here:
                    self._lease.check()
                    shared.remove(self._run / folder / name)

    def _kept(self) -> list[str]:
        names = [WEIGHTS] if (self._source / WEIGHTS).exists() else []
        for folder in (CHECKPOINTS, CHECKOUT_CHECKPOINTS):
            for parent, _, files in os.walk(self._source / folder):
                names += [(Path(parent) / file).relative_to(self._source).as_posix() for file in files]
        return sorted(name for name in names if not Path(name).name.startswith("."))

    def _drawn(self) -> list[str]:
        """What TensorBoard draws, which no start goes on from."""
        return sorted(path.relative_to(self._source).as_posix() for path in (self._source / FOLDER).glob("*"))

    def _state(self, name: str) -> tuple[int, int]:
        try:
            status = (self._source / name).stat()
        except FileNotFoundError:
            return -1, -1
        return status.st_size, status.st_mtime_ns
