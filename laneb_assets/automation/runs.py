"""Which runs and backfills are an experiment's, however they were started, and whether one is under way."""

import dagster as dg
from filelock import FileLock, Timeout

from laneb.places import is_folder_path
from laneb.settings import Settings
from laneb.storage.atomic import StorageError
from laneb.storage.lease import Lease
from laneb.storage.work_dir import LOCK
from laneb_assets.dagster_internals import BACKFILL_UNDER_WAY, PartitionBackfill
from laneb_assets.lane import Lane
from laneb_assets.runs.dead import UNDER_WAY, belongs, end_dead_runs

BACKFILL_TAG = "dagster/backfill"
"""By which Dagster joins the runs of a backfill."""

_watched: dict[str, Lease] = {}
"""Leases that this process looks at, by place: only who has seen one stand still knows that its holder is gone."""

_ACTIVE = [dg.DagsterRunStatus.QUEUED, *UNDER_WAY]


def busy(lane: Lane, instance: dg.DagsterInstance) -> str | None:
    """Why now is no time to start anything: the lane is being worked on."""
    experiment = lane.experiment
    if dead := end_dead_runs(instance, experiment):
        return f"run {', '.join(run_id[:8] for run_id in dead)} was killed; what it left undone comes next"
    for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)):
        if belongs(run, experiment):
            return f"run {run.run_id[:8]} of {experiment} is under way"
    for backfill in instance.get_backfills(status=BACKFILL_UNDER_WAY):
        if _backfill_belongs(instance, backfill, experiment):
            return f"backfill {backfill.backfill_id} of {experiment} is under way"
    locked = True
    try:
        with FileLock(lane.settings.locations.local_dir / LOCK, timeout=0):
            pass
    except Timeout:
        return "laneb run is at work on this experiment"
    except OSError:
        locked = False
    return None if locked and is_folder_path(lane.settings.locations.work_dir) else _held_elsewhere(lane.settings)


def lane_lease(settings: Settings) -> Lease:
    """What `laneb run` holds where a lock tells others nothing: in a bucket, or in a folder that knows no locks."""
    work_dir = settings.locations.work_dir
    return Lease(work_dir / ".leases" / "laneb_run", settings.engine.lease_seconds, what=str(work_dir))


def _held_elsewhere(settings: Settings) -> str | None:
    """Who holds the lane's lease, on whichever machine; None once its holder gave it back, or has stood still."""
    lease = _watched.setdefault(str(settings.locations.work_dir), lane_lease(settings))
    try:
        return f"laneb run is at work on this experiment: {lease.holder()}" if lease.is_alive() else None
    except (StorageError, OSError) as error:
        return f"whether laneb run is at work can't be seen: {error}"


def _backfill_belongs(instance: dg.DagsterInstance, backfill: PartitionBackfill, experiment: str) -> bool:
    """Whether a backfill is one of the experiment's: one of a job by its name tells it by its runs."""
    if backfill.asset_selection is not None:
        return any(key.path[0] == experiment for key in backfill.asset_selection)
    runs = instance.get_runs(dg.RunsFilter(tags={BACKFILL_TAG: backfill.backfill_id}), limit=1)
    # Before the first of its runs is made it may be anybody's.
    return not runs or belongs(runs[0], experiment)
