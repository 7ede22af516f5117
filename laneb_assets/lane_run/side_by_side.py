"""Partitions of one level side by side, each in a process of its own.

Threads deadlock in Dagster's logging, and a process that only waits for a training run costs a core nothing. Each opens
the instance and the definitions once, takes about 200 MB of which most is shared, and works off one partition after
another, of this level and of later ones.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Any

import dagster as dg

from laneb.settings import Settings, load_settings
from laneb_assets.lane_run.steps import Outcome, Step
from laneb_assets.names import TRAINING_POOL

LOOK_SECONDS = 0.5
"""Between two looks at what waiting processes say."""

_opened: list[Callable[[Step], Outcome]] = []
"""In a process of the pool: what materializes a step, once it was opened."""


class SideBySide:
    """Processes that materialize partitions which don't need each other; started when the first is needed.

    Args:
        settings: the experiment; they say how many at once.
        instance: where runs and materializations are kept; not an ephemeral one.
        lane_run: what joins the runs of one `laneb run`.
        waiting: called with a step that waits for its turn, and a sentence with what it waits for.
    """

    def __init__(
        self, settings: Settings, instance: dg.DagsterInstance, lane_run: str, waiting: Callable[[Step, str], None]
    ) -> None:
        self._settings, self._instance, self._lane_run, self._waiting = settings, instance, lane_run, waiting
        self._count = settings.engine.parallel_runs
        self._pool: ProcessPoolExecutor | None = None
        self._context = _context()
        self._said: SimpleQueue[tuple[Step, str]] = self._context.SimpleQueue()
        self._stopping = self._context.Event()

    def __enter__(self) -> "SideBySide":
        return self

    def __exit__(self, *failure: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _processes(self) -> ProcessPoolExecutor:
        if self._pool is None:
            _make_room(self._instance, self._count)
            settings, reference = self._settings, self._instance.get_ref()
            given = (settings.profile, dict(settings.overrides), str(settings.locations.work_dir), reference)
            # Who makes the processes has the environment of its own start.
            given = (*given, self._lane_run, dict(os.environ), self._said, self._stopping)
            self._pool = ProcessPoolExecutor(self._count, self._context, _open, given)
        return self._pool

    def materialize(self, steps: Sequence[Step], before: Callable[[Step], None]) -> Iterator[Outcome]:
        """Materialize partitions, as many at once as there are processes.

        After a failure nothing more is begun, and what runs is waited for.

        Args:
            steps: the partitions.
            before: called with each one when it is handed to a process.

        Yields:
            Each one's outcome, in the order in which they end.

        Raises:
            KeyboardInterrupt: told to stop; runs that were training have checkpoints.
        """
        processes, waiting, running = self._processes(), list(steps), dict[Future[Outcome], Step]()
        try:
            while waiting or running:
                while waiting and len(running) < self._count:
                    step = waiting.pop(0)
                    before(step)
                    running[processes.submit(_materialize, step)] = step
                done = wait(running, LOOK_SECONDS, FIRST_COMPLETED).done
                while not self._said.empty():
                    self._waiting(*self._said.get())
                for ended in done:
                    outcome = _outcome(running.pop(ended), ended)
                    if outcome.state == "failed":
                        waiting.clear()
                    yield outcome
        except BaseException:
            # The signal for those that train; one that waits may be where Python drops what a signal raises.
            self._stopping.set()
            _interrupt_children()
            raise


def _outcome(step: Step, ended: "Future[Outcome]") -> Outcome:
    try:
        return ended.result()
    except BrokenProcessPool:
        reason = (
            "its process ended abruptly, and what it printed above says why; where it says nothing, memory was short"
        )
        return Outcome(step, "failed", error=f"{reason}: lower LANE_B_PARALLEL_RUNS. Run laneb run again to go on.")


def _make_room(instance: dg.DagsterInstance, count: int) -> None:
    """Let as many train at once as were asked for: a pool with fewer slots would have them wait for each other."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    default = instance.get_concurrency_config().pool_config.default_pool_limit
    limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    # Also where the default is enough: processes that set it up at once fail on Postgres. Without a default, a pool
    # that nobody gave a limit has none.
    if limits.get(TRAINING_POOL, count if default is None else 0) < count:
        storage.set_concurrency_slots(TRAINING_POOL, max(count, default or 0))


def _context() -> BaseContext:
    """One process imports what all need and makes the others, where there is such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "laneb_assets.definitions", "laneb_assets.lane_run.execution"])
    return context


def _interrupt_children() -> None:
    """Tell the processes to stop; leaving the pool then waits for their checkpoints."""
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, signal.SIGINT)


def _open(
    profile: str,
    overrides: dict[str, Any],
    work_dir: str,
    ref: Any,
    lane_run: str,
    environment: dict[str, str],
    said: "SimpleQueue[tuple[Step, str]]",
    stopping: Event,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    # A terminal's Ctrl-C reaches the process that started this one, which passes it on: twice would cut off the
    # checkpoint.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from laneb_assets.definitions import definitions_of
    from laneb_assets.lane import Lane
    from laneb_assets.lane_run.execution import materialize_step

    settings = load_settings(profile, overrides=overrides, work_dir=work_dir)
    definitions = definitions_of(settings)
    lane = Lane(settings, definitions.resolve_asset_graph())
    instance = dg.DagsterInstance.from_ref(ref)

    def materialize(step: Step) -> Outcome:
        def say(sentence: str) -> None:
            said.put((step, sentence))

        return materialize_step(lane, definitions, instance, step, say, lane_run=lane_run, should_stop=stopping.is_set)

    _opened.append(materialize)


def _end_with_parent() -> None:
    """Stop as by Ctrl-C when the process that started this one is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGINT)


def _materialize(step: Step) -> Outcome:
    return _opened[0](step)
