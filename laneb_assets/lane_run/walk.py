"""The walk over the lane: what is up to date is left as it is, what is missing or stale is materialized, one asset (or
partition) after another, or training runs of one level side by side, each in a Dagster run that the UI shows like its
own."""

import contextlib
import errno
import sys
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial

import dagster as dg
from filelock import FileLock, Timeout

from laneb.places import is_folder_path
from laneb.settings import Settings, SettingsError
from laneb.storage.lease import Lease, LeaseHeldError
from laneb.storage.overrides import keep_overrides
from laneb_assets.automation.runs import LOCK
from laneb_assets.automation.staleness import Staleness
from laneb_assets.definitions import definitions_of
from laneb_assets.lane import Lane
from laneb_assets.lane_run.execution import materialize_step
from laneb_assets.lane_run.side_by_side import SideBySide
from laneb_assets.lane_run.steps import Outcome, Step, forced_in, walk_of
from laneb_assets.names import EXPERIMENT, TRAINED
from laneb_assets.runs.dead import end_dead_runs

Reporter = Callable[[Outcome], None]

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""How file systems answer that have none, such as NFS without its lock service."""


def run_lane(
    settings: Settings,
    instance: dg.DagsterInstance,
    *,
    before: Callable[[Step], None],
    after: Reporter,
    waiting: Callable[[Step, str], None] = lambda step, sentence: None,
    force: Collection[str] = (),
) -> list[Outcome]:
    """Materialize what isn't up to date; stop at the first failure.

    Args:
        settings: the experiment.
        instance: where runs and materializations are kept.
        before: called with each step that is about to be materialized.
        after: called with each step's outcome.
        waiting: called with a step that waits for its turn, and a sentence with what it waits for.
        force: what is made again though it is up to date; see `forced_in`.

    Raises:
        SettingsError: there is nothing like what is forced, or another `laneb run` works in the same work directory.
        KeyboardInterrupt: it was told to stop; a run that was training has a checkpoint.
    """
    outcomes: list[Outcome] = []
    with _only_one(settings):
        definitions = definitions_of(settings)
        lane = Lane(settings, definitions.resolve_asset_graph())
        keep_overrides(settings.locations, settings.overrides)
        end_dead_runs(instance, settings.experiment)
        lane.store.name_this_place()
        lane_run = uuid.uuid4().hex[:8]
        forced = forced_in(lane, force)
        with SideBySide(settings, instance, lane_run) as side_by_side:
            for level in walk_of(lane):
                level = [replace(step, repeat=(step.asset, step.partition) in forced) for step in level]
                for outcome in _materialized(
                    lane, definitions, instance, level, lane_run, before, waiting, side_by_side
                ):
                    outcomes.append(outcome)
                    after(outcome)
                if any(outcome.state == "failed" for outcome in outcomes):
                    break
    return outcomes


def _materialized(
    lane: Lane,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    level: list[Step],
    lane_run: str,
    before: Callable[[Step], None],
    waiting: Callable[[Step, str], None],
    side_by_side: SideBySide,
) -> Iterator[Outcome]:
    """The outcomes of steps that don't need each other, until one fails."""
    stale: dict[Step, str] = {}
    for step in level:
        state = Staleness(lane, instance)
        if step.ahead and state.says_settings(step.asset):
            continue
        if step.asset != EXPERIMENT and not step.repeat and state.up_to_date(step.asset, step.partition):
            yield Outcome(step, "up to date")
            continue
        damage = state.damage(step.asset, step.partition)
        if step.asset in TRAINED and lane.settings.engine.parallel_runs > 1:
            stale[step] = damage
        else:
            before(step)
            say = partial(waiting, step)
            outcome = materialize_step(lane, definitions, instance, step, say, lane_run=lane_run)
            yield replace(outcome, damage=damage)
            if outcome.state == "failed":
                return
    if stale:
        for outcome in side_by_side.materialize(list(stale), before):
            yield replace(outcome, damage=stale[outcome.step])


def make_work_dir(settings: Settings) -> None:
    """Make the work directory on this machine; a SettingsError says when that is impossible."""
    try:
        settings.locations.local_dir.mkdir(parents=True, exist_ok=True)
        (settings.locations.local_dir / LOCK).touch()
    except OSError as error:
        raise SettingsError(
            [
                f"{settings.locations.work_dir} can't be written: {error.strerror or error}. Choose another place with "
                "--work-dir, LANE_B_WORK_DIR or NANOCHAT_BASE_DIR."
            ]
        ) from None


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """One `laneb run` at a time in a work directory; the lock dies with its holder."""
    make_work_dir(settings)
    with _only_one_here(settings) as locked, _only_one_anywhere(settings, locked=locked):
        yield


@contextlib.contextmanager
def _only_one_anywhere(settings: Settings, *, locked: bool) -> Iterator[None]:
    """The same among machines that share a bucket, or a folder that knows no locks: by a lease in it."""
    work_dir = settings.locations.work_dir
    if is_folder_path(work_dir) and locked:
        yield
        return
    lease = Lease(work_dir / ".leases" / "laneb_run", settings.engine.lease_seconds, what=str(work_dir))
    try:
        # Long enough to tell a holder that beats from one that is gone.
        lease.wait(1.5 * settings.engine.lease_seconds, say=lambda text: print(f"laneb: {text}", file=sys.stderr))
    except LeaseHeldError as error:
        raise SettingsError([f"another laneb run is at work: {error}, or choose another --work-dir."]) from None
    with lease.beating():
        yield


@contextlib.contextmanager
def _only_one_here(settings: Settings) -> Iterator[bool]:
    """Whether the folder knows locks: NFS may not."""
    # A sensor looks at the lock now and then, for a moment.
    lock, locked = FileLock(settings.locations.local_dir / LOCK, timeout=2), True
    try:
        lock.acquire()
    except Timeout:
        raise SettingsError(
            [
                f"another laneb run is at work in {settings.locations.work_dir}: wait for it, or choose another "
                "--work-dir."
            ]
        ) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        locked = False
    try:
        yield locked
    finally:
        if locked:
            lock.release()
