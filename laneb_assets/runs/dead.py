"""Runs whose process is gone: killed, or on a machine that lost power. They would be under way for ever.

Dagster's own run monitoring can't see that of runs that its default launcher, or `laneb run`, started on this machine.
"""

import time

import dagster as dg

from laneb_assets.names import EXPERIMENT_TAG
from laneb_assets.runs.alive import dead_marks, forget, is_alive

UNDER_WAY = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

CREATED_SECONDS = 60.0
"""A run that is neither queued nor started this long after somebody first looked at it was left behind by who made it.
By the reader's own clock: the wall clock steps."""

_first_seen: dict[str, float] = {}


def end_dead_runs(instance: dg.DagsterInstance, experiment: str) -> list[str]:
    """Fail the runs whose process is gone and free their pool slots; gives the ids of those of the experiment."""
    ended = []
    for run_id in dead_marks(instance):
        run = instance.get_run_by_id(run_id)
        if run is not None and end_if_dead(instance, run):
            ended.append(run)
        # It may have died before it was on record, or after its end was.
        free_slots(instance, run_id)
        forget(instance, run_id)
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])):
        if end_if_dead(instance, run):
            ended.append(run)
    return [run.run_id for run in ended if belongs(run, experiment)]


def end_if_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Put a run on record as ended if its process is gone, and free its slots; whether that was so."""
    if run.status not in UNDER_WAY or not _is_dead(instance, run):
        return False
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, "the process of this run is gone, as was asked for")
    elif run.status == dg.DagsterRunStatus.NOT_STARTED:
        instance.report_run_failed(run, "this run was made and never started: what made it was killed")
    else:
        instance.report_run_failed(run, "the process of this run is gone: it was killed, or its machine stopped")
    free_slots(instance, run.run_id)
    forget(instance, run.run_id)
    return True


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Free the slots that a run holds or waits for, in every pool."""
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def belongs(run: dg.DagsterRun, experiment: str) -> bool:
    """Whether a run is one of the experiment's, however it was started: a job launched by its name has a tag, all
    others a selection of assets."""
    if run.tags.get(EXPERIMENT_TAG) == experiment:
        return True
    return any(key.path[0] == experiment for key in run.asset_selection or ())


def what_of(run: dg.DagsterRun) -> str:
    """A run in words: its number, and what it makes."""
    assets = sorted(key.path[-1] for key in run.asset_selection or ())
    partition = run.tags.get("dagster/partition")
    names = ", ".join(assets) if 0 < len(assets) <= 2 else run.job_name
    experiment = next((key.path[0] for key in run.asset_selection or ()), run.tags.get(EXPERIMENT_TAG))
    words = [names, f"[{partition}]" if partition else "", f"of {experiment}" if experiment else ""]
    return f"run {run.run_id[:8]} ({' '.join(filter(None, words))})"


def _is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    alive = is_alive(instance, run.run_id)
    if alive is not None:
        return not alive
    if run.status != dg.DagsterRunStatus.NOT_STARTED:
        # A process of another machine may execute it, or it is about to show itself.
        return False
    return time.monotonic() - _first_seen.setdefault(run.run_id, time.monotonic()) > CREATED_SECONDS
