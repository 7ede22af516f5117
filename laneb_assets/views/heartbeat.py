"""A run's heartbeat in Dagster while it trains: observations on the asset's partition, which its plots follow, and the
same as sentences in the run's log. It is read from the run's own events, so it beats wherever the run trains."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from laneb.training.progress import Follower, Progress
from laneb_assets.views.metadata import finite_numbers

BEAT_SECONDS = 10.0
_POLL_SECONDS = 1.0


class Beats:
    """Decides when a run's progress is worth saying: at an evaluation, else every `BEAT_SECONDS`.

    Args:
        follower: of the run's events.
        say: gets the progress, and whether an evaluation (of which the run itself tells the log) brought it.
        clock: seconds, of any origin.
    """

    def __init__(
        self, follower: Follower, say: Callable[[Progress, bool], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._follower, self._say, self._clock = follower, say, clock
        self._last, self._evaluations = clock(), 0

    def poll(self) -> None:
        """Say what is due."""
        changed = self._follower.poll()
        progress = self._follower.progress
        evaluated = progress.evaluations > self._evaluations
        if not changed or not (evaluated or self._clock() - self._last >= BEAT_SECONDS):
            return
        self._last, self._evaluations = self._clock(), progress.evaluations
        self._say(progress, evaluated)


@contextlib.contextmanager
def heartbeat(context: dg.AssetExecutionContext, run_dir: Path, since: int) -> Iterator[None]:
    """Beat while the run in a directory trains, from `since` bytes of its events on."""
    partition = context.partition_key if context.has_partition_key else None

    def say(progress: Progress, evaluated: bool) -> None:
        if not evaluated:
            context.log.info(f"{run_dir.name}: {progress.sentence()}")
        context.instance.report_runless_asset_event(
            dg.AssetObservation(
                context.asset_key,
                partition=partition,
                description=f"{run_dir.name}: {progress.sentence()}",
                metadata={"run": run_dir.name, **finite_numbers(progress.numbers())},
            )
        )

    beats, done = Beats(Follower(run_dir, since), say), threading.Event()

    def beat() -> None:
        while not done.wait(_POLL_SECONDS):
            beats.poll()

    thread = threading.Thread(target=beat, name=f"heartbeat of {run_dir.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        beats.poll()
