"""`python -m laneb.engines.node RUN`: what an engine starts. Trains the run in the directory RUN, a folder or a bucket.

Takes the run's lease, fetches what it goes on from, trains in this machine's scratch with `python -m laneb.training`,
and publishes meanwhile. Exit status: that of the training; 75, another machine is at it or took over; 143, it was told
to stop.

On several machines each starts one of these: the first holds the lease and publishes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.engines import job as jobs
from laneb.engines import published
from laneb.engines.shards import shards_here
from laneb.knobs import TrainingKnobs
from laneb.places import reach
from laneb.storage import shared
from laneb.storage.atomic import StorageError
from laneb.storage.lease import Lease, LeaseHeldError, LeaseLostError
from laneb.training.interruption import StopRequest
from laneb.training.launch import training_command
from laneb.training.run_directory import (
    HELD_BY_ANOTHER,
    SPEC,
    failure_since,
    failures_noted,
    prepare,
    read_result,
    read_spec,
)
from laneb.training.trackers import check_reach

if TYPE_CHECKING:
    from laneb.places import AnyPath
    from laneb.training.spec import RunSpec

LOOK_SECONDS = 0.1
PUBLICATIONS_PER_LEASE = 24
LOGS_PER_LEASE = 2
LAST_PUBLICATION_SECONDS = 3600.0
"""How long a place that does not answer is waited for, when the run is over."""


@dataclass(frozen=True)
class Placement:
    """This machine among those of the job.

    Attributes:
        incarnation: which start of the job this is, the same on all its machines.
        rank, nodes: this machine of so many.
        master: host:port of the first, where its processes meet.
        all_are_told: the engine signals every process of the job, so that a signal must not be passed on.
    """

    incarnation: str
    rank: int = 0
    nodes: int = 1
    master: str = ""
    all_are_told: bool = False


def main(arguments: list[str]) -> int:
    """Train; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m laneb.engines.node", description=__doc__)
    parser.add_argument("run", help="the run's directory")
    parser.add_argument("--incarnation", default="", help="which start of the job this is")
    parser.add_argument("--rank", type=int, default=0, help="this machine among the job's")
    parser.add_argument("--nodes", type=int, default=1, help="machines of the job")
    parser.add_argument("--master", default="", help="host:port of the first machine")
    parser.add_argument("--all-are-told", action="store_true", help="the engine signals every process of the job")
    parser.add_argument("--parent", type=int, default=0, help="stop when this process is gone")
    given = parser.parse_args(arguments)
    stop = StopRequest()
    stop.listen()
    if given.parent:
        stop.watch(given.parent)
    incarnation = given.incarnation or f"process {os.getpid()}"
    try:
        run = reach(given.run)
        placement = Placement(incarnation, given.rank, given.nodes, given.master, given.all_are_told)
        return _work(run, placement, stop)
    except (LeaseHeldError, LeaseLostError) as error:
        print(f"error: {error}", file=sys.stderr)
        return HELD_BY_ANOTHER
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _work(run: AnyPath, placement: Placement, stop: StopRequest) -> int:
    job = jobs.read_job(run)
    if job is None:
        raise ValueError(f"{run} has no {jobs.JOB}: a run is started by the one who coordinates it, such as laneb run")
    holder = f"{job.name} ({placement.incarnation}) on {socket.gethostname()}"
    lease = published.node_lease(run, job.lease_seconds, holder)
    if placement.rank:
        _wait_for_leader(lease, placement, stop)
        with _scratch(job) as scratch:
            return _train_beside(run, job, placement, stop, scratch)
    _claim(lease, stop)
    with lease.beating(), _scratch(job) as scratch:
        try:
            return _train(run, job, placement, stop, lease, scratch)
        except (LeaseLostError, StorageError):
            raise
        except (ValueError, OSError) as error:
            lease.check()
            jobs.write(run, jobs.Ended(job.name, 1, str(error)))
            raise


def _claim(lease: Lease, stop: StopRequest) -> None:
    """Take the lease from a holder that stands still; leave at once to one that is seen to beat.

    Raises:
        LeaseHeldError: another holds it, or this job is to stop.
    """
    first = lease.current()
    lease.wait(
        10 * lease.seconds, stop=lambda: bool(stop.requested()) or _beats(first, lease), say=lambda text: print(text)
    )


def _beats(first: object, lease: Lease) -> bool:
    current = lease.current()
    return current is not None and not current.released and current != first


def _wait_for_leader(lease: Lease, placement: Placement, stop: StopRequest) -> None:
    """Until the job's first machine holds the lease: what is fetched then is what it goes on from too."""
    deadline = time.monotonic() + 20 * lease.seconds
    while (claim := lease.current()) is None or claim.released or f"({placement.incarnation})" not in claim.holder:
        if stop.requested() or time.monotonic() > deadline:
            raise LeaseHeldError(f"the first machine of job {placement.incarnation} never came to hold the run")
        time.sleep(min(1.0, lease.seconds / PUBLICATIONS_PER_LEASE))


@contextlib.contextmanager
def _scratch(job: jobs.Job) -> Iterator[Path]:
    """A folder of this start's own."""
    root = Path(job.scratch or tempfile.gettempdir())
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="laneb-run-", dir=root))
    except OSError as error:
        raise ValueError(f"{root} can't be written on {socket.gethostname()}: set LANE_B_SCRATCH") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _train(run: AnyPath, job: jobs.Job, placement: Placement, stop: StopRequest, lease: Lease, scratch: Path) -> int:
    run_dir, spec = _fetched(run, job, scratch)
    if published.finished(run, spec, scratch / "mirror") is not None:
        return 0
    publisher, before = published.Publisher(run_dir, run, lease), failures_noted(run_dir)
    process = subprocess.Popen(_command(run_dir, job, placement), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code = _followed(process, placement, stop, lease, publisher)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if read_result(run_dir, spec) is not None:
        _persistently(publisher.finish)
        return 0
    _persistently(lambda: publisher.publish(whole_log=True))
    lease.check()
    stopped = stop.requested() or (code - 128 if code in (130, 143) else 0)
    code = 128 + stopped if stopped else code if code > 0 else 1
    message = "" if stopped else failure_since(run_dir, before, lasting=True) or ""
    jobs.write(run, jobs.Ended(job.name, code, message))
    return code


def _persistently(publish: Callable[[], None]) -> None:
    """Publish what hours were spent on, even where the place does not answer for a long while."""
    import tenacity

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StorageError),
        stop=tenacity.stop_after_delay(LAST_PUBLICATION_SECONDS),
        reraise=True,
    )
    retrying(publish)


def _train_beside(run: AnyPath, job: jobs.Job, placement: Placement, stop: StopRequest, scratch: Path) -> int:
    """The part of a machine that doesn't lead: its processes train, and write nothing that is kept."""
    run_dir, _ = _fetched(run, job, scratch)
    process = subprocess.Popen(_command(run_dir, job, placement), stdin=subprocess.DEVNULL, start_new_session=True)
    code = _followed(process, placement, stop)
    return 128 + stop.requested() if stop.requested() else abs(code)


def _fetched(run: AnyPath, job: jobs.Job, scratch: Path) -> tuple[Path, RunSpec]:
    """The run's directory in scratch, ready to be trained in."""
    shared.download(run / SPEC, scratch / SPEC)
    spec = read_spec(scratch / SPEC)
    if spec.fingerprint != job.fingerprint:
        raise ValueError(f"{run} was given to another run since: start the run again")
    check_reach(spec.trackers)
    spec = spec.model_copy(update={"shards_path": str(shards_here(job, spec, scratch.parent))})
    run_dir = scratch / spec.run_id
    published.fetch(run, run_dir)
    run_dir.mkdir(exist_ok=True)
    (run_dir / SPEC).write_text(spec.to_json(), encoding="utf-8")
    prepare(run_dir, spec)
    return run_dir, spec


def _command(run_dir: Path, job: jobs.Job, placement: Placement) -> list[str]:
    knobs = TrainingKnobs.model_validate({"launcher": job.launcher, "launcher_args": job.launcher_args})
    command = training_command(run_dir / SPEC, knobs)
    if job.launcher == "process":
        command += ["--parent", str(os.getpid())]
    if placement.nodes > 1:
        host, _, port = placement.master.rpartition(":")
        # Of these, --node-rank alone makes the first machine's first process the leading one.
        meet = ["--nnodes", str(placement.nodes), "--node-rank", str(placement.rank), "--master-addr", host]
        place = command.index("torch.distributed.run") + 1
        command[place:place] = [*meet, "--master-port", port]
    return command


def _followed(
    process: subprocess.Popen[bytes],
    placement: Placement,
    stop: StopRequest,
    lease: Lease | None = None,
    publisher: published.Publisher | None = None,
) -> int:
    """The exit status of the training process, which is told to stop when this one is, and published meanwhile."""
    passed_on = placement.all_are_told and placement.nodes > 1
    seconds = lease.seconds if lease else 60.0
    publication = _Now(max(0.2, seconds / PUBLICATIONS_PER_LEASE))
    log = _Now(seconds / LOGS_PER_LEASE)
    while process.poll() is None:
        if stop.requested() and not passed_on:
            passed_on = True
            process.send_signal(stop.requested())
        if publisher is not None and publication.is_due():
            try:
                publisher.publish(whole_log=log.is_due())
            except StorageError as error:
                # Training goes on while the place does not answer; the end of the run tries for longer.
                print(f"warning: {error}", file=sys.stderr)
        time.sleep(LOOK_SECONDS)
    return process.returncode


class _Now:
    """Whether it is time again, every so many seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock, self._due = seconds, clock, clock() + seconds

    def is_due(self) -> bool:
        if self._clock() < self._due:
            return False
        self._due = self._clock() + self._seconds
        return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
