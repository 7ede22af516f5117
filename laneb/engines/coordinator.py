"""The coordinator's side of a run on an engine: submits it, follows it, and knows how it ended from its directory.

One coordinator at a time submits a run, by a lease of its own; others wait for the result. What is known of a
submission stands in `job.json`, so that a coordinator which comes after one that died attaches to the job in place of
starting another. How a job ended is read from the run's directory: exit codes differ between engines and launchers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.engines import job as jobs
from laneb.engines import published
from laneb.engines.engine import Engine, EngineError, EngineSilentError, engine_for
from laneb.engines.events import Event, Events
from laneb.engines.shards import publish_shards
from laneb.places import is_folder_path
from laneb.records.base import canonical_hash
from laneb.storage.lease import LeaseHeldError
from laneb.training.launch import training_command
from laneb.training.run_directory import EVENTS, LOG, SPEC

if TYPE_CHECKING:
    from laneb.knobs import EngineKnobs, TrainingKnobs
    from laneb.places import AnyPath
    from laneb.records.runs import RunResult
    from laneb.training.spec import RunSpec

LOOKS_PER_LEASE = 24
FIRST_LOOK_SECONDS, SLOWEST_LOOK_SECONDS = 0.2, 5.0
LOOKS_PER_QUESTION = 4
"""A job that no node holds yet is asked for at the engine every so many looks at the run's directory."""

LOOKS_AT_THE_END = 2

FRUITLESS_STARTS = 3
"""Submissions in a row that bring no new checkpoint before the run counts as failed."""

STOP_SECONDS = 600.0


class CancelledError(ValueError):
    """The run was told to stop, here or on the engine; it goes on from its last checkpoint when started again."""


@dataclass(frozen=True)
class Work:
    """A run to be trained on an engine.

    Attributes:
        spec: the run.
        run: its directory as all machines see it, in a folder or a bucket.
        mirror: its directory on this machine; the same where `run` is a folder.
        training: how training starts on a node.
        engine: where.
        role: of its arguments: "baseline", "calibration" or "candidate".
    """

    spec: RunSpec
    run: AnyPath
    mirror: Path
    training: TrainingKnobs
    engine: EngineKnobs
    role: str = ""


def train(
    work: Work,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    say: Callable[[str], None] = lambda sentence: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """The result of a run: trained on the engine, resumed there, or read when it is there already.

    Args:
        work: the run, and where.
        on_event: gets each line of the run's `events.jsonl`, once.
        say: gets a sentence when something happens to the job.
        should_stop: whether to cancel the run; asked every few seconds. A KeyboardInterrupt does the same at once.

    Raises:
        CancelledError: it was told to stop.
        EngineError: the engine refuses it, or it failed and would fail again; says why.
        StorageError: the run's directory can't be reached.
    """
    training_command(work.mirror / SPEC, work.training)
    return _Coordinator(work, engine_for(work.engine, work.role), on_event, say, should_stop).run()


class _Coordinator:
    def __init__(
        self,
        work: Work,
        engine: Engine,
        on_event: Callable[[Event], None],
        say: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.work, self.engine, self.say, self.should_stop = work, engine, say, should_stop
        self.spec, self.run_dir = work.spec, work.run
        self.events = Events(work.run / EVENTS, on_event, work.mirror / EVENTS)
        seconds = work.engine.lease_seconds
        self.lease = published.coordinator_lease(work.run, seconds)
        self.node = published.node_lease(work.run, seconds)
        self.pause = min(SLOWEST_LOOK_SECONDS, seconds / LOOKS_PER_LEASE)

    def run(self) -> RunResult:
        result = self._result()
        if result is not None:
            return result
        try:
            self.lease.wait(float("inf"), stop=self._settled, say=self.say)
        except LeaseHeldError:
            result = self._result()
            if result is None:
                raise CancelledError(f"{self.spec.run_id}: no longer waited for") from None
            return result
        with self.lease.beating():
            if (result := self._result()) is not None:
                return result
            published.prepare_published(self.run_dir, self.spec, self.work.mirror)
            job = self._attached() or self._submitted(None)
            try:
                return self._followed(job)
            except Exception:
                raise
            except BaseException:
                self._cancel(jobs.read_job(self.run_dir) or job)
                raise

    def _settled(self) -> bool:
        self.events.tell()
        return self.should_stop() or self._result() is not None

    def _result(self) -> RunResult | None:
        return published.finished(self.run_dir, self.spec, self.work.mirror)

    def _attached(self) -> jobs.Job | None:
        """The job that an earlier coordinator submitted, if the engine still has it or a node is at it."""
        job = jobs.read_job(self.run_dir)
        if job is None or job.fingerprint != self.spec.fingerprint:
            return None
        if self.node.is_alive() or (
            job.engine == self.work.engine.engine and self._state(job.name) in ("queued", "running", None)
        ):
            self.say(f"{self.spec.run_id}: {job.where or job.name} is at it already; following it")
            return job
        return None

    def _submitted(self, before: jobs.Job | None, *, waited: bool = False) -> jobs.Job:
        """A new submission, which `job.json` tells of before there is a job.

        Args:
            before: the one that it comes after.
            waited: that one never began, which is no failure of the run.
        """
        step, knobs, training = published.checkpoint_step(self.run_dir), self.work.engine, self.work.training
        earlier = before or jobs.read_job(self.run_dir)
        attempt = earlier.attempt + 1 if earlier is not None and earlier.fingerprint == self.spec.fingerprint else 1
        fruitless = before.fruitless + int(not waited) if before is not None and step <= before.step else 0
        # Two lanes may want the same run, each in its own place. No underscores: a name is also a pod's.
        identity = canonical_hash([self.spec.fingerprint, str(self.run_dir)])[:8]
        name = f"laneb-{self.spec.run_id.replace('_', '-')}-{identity}-{attempt}"
        job = jobs.Job(
            name, self.spec.fingerprint, attempt, fruitless, step, knobs.engine, str(self._shards()), knobs.scratch,
            knobs.lease_seconds, training.launcher, training.launcher_args,
        )  # fmt: skip
        jobs.write(self.run_dir, job)
        command = [knobs.python or sys.executable, "-m", "laneb.engines.node", str(self.run_dir)]
        job = replace(job, where=self.engine.submit(name, command, self.run_dir / jobs.OUTPUT))
        jobs.write(self.run_dir, job)
        self.say(f"{self.spec.run_id}: {job.where}, {'from step ' + str(step) if step else 'from its beginning'}")
        return job

    def _shards(self) -> AnyPath:
        """Where nodes find the shards: where they are, in a folder that all share; else in the bucket."""
        local = Path(self.spec.shards_path)
        if is_folder_path(self.run_dir) or self.spec.backend == "simulated":
            return local
        place = self.run_dir.parent.parent / "corpus" / self.spec.corpus_fingerprint
        publish_shards(local, place)
        return place

    def _followed(self, job: jobs.Job) -> RunResult:
        looks = gone = 0
        while True:
            self.events.tell()
            if (result := self._result()) is not None:
                return result
            if self.should_stop():
                self._cancel(job)
                raise CancelledError(
                    f"{self.spec.run_id} (seed {self.spec.seed}) was told to stop; its checkpoint is kept"
                )
            if looks % LOOKS_PER_QUESTION == 0 and not self.node.is_alive():
                state = self._state(job.name)
                gone = gone + 1 if state in ("ended", "cancelled", "absent", "unstarted") else 0
                # One look may fall between a job's end and its next turn in the queue. The node publishes before it
                # leaves, so what is there now is all that it left.
                if gone >= LOOKS_AT_THE_END and not self.node.is_alive():
                    gone = 0
                    self.events.tell()
                    if (result := self._result()) is not None:
                        return result
                    job = self._again(job, state)
            looks += 1
            # A run of seconds is not looked at as seldom as one of hours.
            time.sleep(min(self.pause, FIRST_LOOK_SECONDS * 1.2 ** min(looks, 50)))

    def _again(self, job: jobs.Job, state: str | None) -> jobs.Job:
        """Submit a job anew that ended without a result, unless that is in vain or a person's wish.

        Raises:
            CancelledError, EngineError: it is.
        """
        ended = jobs.read_ended(self.run_dir, job.name)
        if state == "unstarted":
            self.say(
                f"{self.spec.run_id}: {job.where} got no place for as long as the engine lets a job wait; queueing it "
                "again"
            )
            return self._submitted(job, waited=True)
        if state == "cancelled":
            raise CancelledError(f"{self.spec.run_id}: {job.where} was cancelled on the engine; its checkpoint is kept")
        if ended is not None and ended.message:
            raise EngineError(f"{self.spec.run_id} (seed {self.spec.seed}): {ended.message}")
        fruitless = job.fruitless + 1 if published.checkpoint_step(self.run_dir) <= job.step else 0
        if fruitless >= FRUITLESS_STARTS:
            raise EngineError(
                f"{self.spec.run_id} (seed {self.spec.seed}): {fruitless} starts in a row ended without a new "
                f"checkpoint; the latest was {job.where}. Its log is {self.run_dir / LOG}"
            )
        self.say(f"{self.spec.run_id}: {job.where} ended without a result; starting it again")
        return self._submitted(job)

    def _cancel(self, job: jobs.Job) -> None:
        """Cancel a job, and wait for its checkpoint."""
        self.say(f"{self.spec.run_id}: cancelling {job.where or job.name}")
        deadline, asked = time.monotonic() + STOP_SECONDS, False
        while True:
            try:
                if not asked:
                    self.engine.cancel(job.name)
                    asked = True
                if not self.node.is_alive() and self._state(job.name) not in ("queued", "running", None):
                    return
            except EngineSilentError as error:
                self.say(str(error))
            if time.monotonic() > deadline:
                self.engine.cancel(job.name, at_once=True)
                return
            time.sleep(self.pause)

    def _state(self, name: str) -> str | None:
        """The job's state, or None while the engine does not answer: jobs go on without it."""
        try:
            return self.engine.state(name)
        except EngineSilentError as error:
            self.say(f"{error}; asking again later")
            return None
