"""Runs whose process is gone: killed, or on a machine that lost power. They would be under way for ever.

Dagster's own run monitoring can't see that of runs that its default launcher started on this machine.
"""

import contextlib
import socket

import dagster as dg
import psutil

from laneb_assets.names import EXPERIMENT_TAG

HOST_TAG = "laneb/host"
"""On runs that `laneb run` starts: the machine that their process is on."""

_UNDER_WAY = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_dead_runs(instance: dg.DagsterInstance, experiment: str) -> list[str]:
    """Fail the experiment's runs whose process is gone and free their pool slots; gives their ids."""
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)):
        if belongs(run, experiment) and _is_gone(instance, run):
            instance.report_run_failed(run, "the process of this run is gone: it was killed, or its machine stopped")
            if instance.event_log_storage.supports_global_concurrency_limits:
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead.append(run.run_id)
    return dead


def belongs(run: dg.DagsterRun, experiment: str) -> bool:
    """Whether a run is one of the experiment's, however it was started: a job launched by its name has a tag, all
    others a selection of assets."""
    if run.tags.get(EXPERIMENT_TAG) == experiment:
        return True
    return any(key.path[0] == experiment for key in run.asset_selection or ())


def _is_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process that the run's events name is no longer on this machine."""
    if HOST_TAG in run.tags:
        if run.tags[HOST_TAG] != socket.gethostname():
            return False
    elif not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return False
    processes = [
        (int(str(event.dagster_event.event_specific_data.metadata["pid"].value)), event.timestamp)
        for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        if event.dagster_event and "pid" in getattr(event.dagster_event.event_specific_data, "metadata", {})
    ]
    if not processes:
        return False
    pid, seen = processes[-1]
    with contextlib.suppress(psutil.NoSuchProcess):
        # A process that began after the run spoke of its own is another one, with the same number.
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE or psutil.Process(pid).create_time() > seen + 1
    return True
