"""Partitions of one level side by side, each in a process of its own.

Threads deadlock in Dagster's logging, and a process that only waits for a training run costs a core nothing. Each opens
the instance and the definitions anew, takes about 200 MB, and works off one partition after another.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any

import dagster as dg

from laneb.settings import Settings, load_settings
from laneb_assets.lane_run.steps import Outcome, Step

LOOK_SECONDS = 0.5


_opened: list[Callable[[Step], Outcome]] = []
"""In a process of the pool: what materializes a step, once it was opened."""


def materialize_side_by_side(
    settings: Settings,
    instance: dg.DagsterInstance,
    steps: Sequence[Step],
    lane_run: str,
    before: Callable[[Step], None],
) -> Iterator[Outcome]:
    """Materialize partitions that don't need each other, as many at once as the settings say.

    After a failure nothing more is begun, and what runs is waited for.

    Args:
        settings: the experiment.
        instance: where runs and materializations are kept; not an ephemeral one.
        steps: the partitions.
        lane_run: what joins the runs of one `laneb run`.
        before: called with each one when it is handed to a process.

    Yields:
        Each one's outcome, in the order in which they end.

    Raises:
        KeyboardInterrupt: told to stop; runs that were training have checkpoints.
    """
    work_dir = str(settings.locations.work_dir)
    given = (settings.profile, dict(settings.overrides), work_dir, instance.get_ref(), lane_run, os.getpid())
    count = min(settings.engine.parallel_runs, len(steps))
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _open, given) as processes:
        waiting, running = list(steps), dict[Future[Outcome], Step]()
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    step = waiting.pop(0)
                    before(step)
                    running[processes.submit(_materialize, step)] = step
                ended = next(as_completed(running))
                del running[ended]
                outcome = ended.result()
                if outcome.state == "failed":
                    waiting.clear()
                yield outcome
        except BaseException:
            _interrupt_children()
            raise


def _interrupt_children() -> None:
    """Tell the processes to stop; leaving the pool then waits for their checkpoints."""
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, signal.SIGINT)


def _open(profile: str, overrides: dict[str, Any], work_dir: str, ref: Any, lane_run: str, parent: int) -> None:
    # A terminal's Ctrl-C reaches the process that started this one, which passes it on: twice would cut off the
    # checkpoint.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from laneb_assets.definitions import definitions_of
    from laneb_assets.lane import Lane
    from laneb_assets.lane_run.execution import materialize_step

    settings = load_settings(profile, overrides=overrides, work_dir=work_dir)
    definitions = definitions_of(settings)
    lane = Lane(settings, definitions.resolve_asset_graph())
    instance = dg.DagsterInstance.from_ref(ref)
    _opened.append(lambda step: materialize_step(lane, definitions, instance, step, lane_run=lane_run))


def _end_with(parent: int) -> None:
    """Stop as by Ctrl-C when the process that started this one is gone."""
    while os.getppid() == parent:
        threading.Event().wait(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)


def _materialize(step: Step) -> Outcome:
    return _opened[0](step)
