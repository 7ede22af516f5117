"""What reruns by itself when baselines change: once, in order, and nothing when nothing changed.

One sensor walks the lane in three stages, each a run (or one per seed) that starts only when the one before is up to
date: the analysis chain, the candidates, the schema rows with the summary. What is up to date is Dagster's own answer,
by data versions, so that a baseline rematerialized with the same losses starts nothing, and a daemon that was killed
goes on where the lane stands. Declarative automation would start candidates in the same tick as the inference that
they wait for (dagster#30004).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from filelock import FileLock, Timeout

from laneb.records.experiment import Experiment
from laneb.settings import Settings
from laneb.storage.results import results_fingerprint
from laneb.storage.store import Store
from laneb_assets.dead_runs import end_dead_runs
from laneb_assets.lane import declared, key_of, skipped
from laneb_assets.partitions import partitions_of
from laneb_assets.staleness import BACKFILL_UNDER_WAY, Freshness, Staleness

ANALYSIS = ("baseline_results", "baseline_threshold", "context_loss", "calibration_points", "ratio_inference")
CLOSING = ("inference_schema", "lane_b_summary")
LOCK = ".laneb_run.lock"
"""In the work directory: held while `laneb run` is at work there."""
SOURCE_HASH = "source_hash"
"""Metadata of `baseline_results`: the content of the imported directory that it was made from."""

RUN_KEY_TAG = "dagster/run_key"
"""By which Dagster knows the run that a sensor's request led to."""

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Decision = dg.SkipReason | list[dg.RunRequest]


@dataclass(frozen=True)
class Watch:
    """An experiment as the sensors see it at one tick."""

    settings: Settings
    instance: dg.DagsterInstance
    staleness: Staleness

    def key(self, name: str) -> dg.AssetKey:
        """The asset called `name`."""
        return key_of(self.settings.experiment, name)

    def partitions(self, name: str) -> Sequence[str | None]:
        """An asset's partition keys; one None for an asset without."""
        partitions = declared.assets[name].partitions
        if partitions is None:
            return [None]
        return [str(key) for key in getattr(partitions_of(self.settings), partitions).get_partition_keys()]

    def states(self, name: str) -> dict[str | None, Freshness]:
        """Whether each partition of an asset is up to date."""
        return {partition: self.staleness.of(self.key(name), partition) for partition in self.partitions(name)}

    def made(self, name: str) -> bool:
        """Whether every partition of an asset was materialized."""
        return not any(state.missing for state in self.states(name).values())

    def latest(self, name: str) -> int:
        """Storage id of an asset's newest materialization, of any partition; 0 without one."""
        records = self.instance.fetch_materializations(self.key(name), limit=1).records
        return records[0].storage_id if records else 0


def sensors_of(settings: Settings, jobs: Sequence[Any]) -> list[dg.SensorDefinition]:
    """`baselines_changed` and `baseline_results_file`, as the experiment's automation setting has them."""
    started = [job for job in jobs if job.name in ("analysis", "candidates")]
    status = (
        dg.DefaultSensorStatus.STOPPED if settings.automation.automation == "off" else dg.DefaultSensorStatus.RUNNING
    )

    @dg.sensor(jobs=started, minimum_interval_seconds=10, default_status=status)
    def baselines_changed(context: dg.SensorEvaluationContext):
        """Rerun the lane from new baselines on: analysis, then candidates, then schema rows and summary."""
        return next_runs(_watch(settings, context))

    @dg.sensor(jobs=started, minimum_interval_seconds=30, default_status=status)
    def baseline_results_file(context: dg.SensorEvaluationContext):
        """Rerun the analysis when the imported results directory changes: its content, not its times."""
        return imported_results_changed(_watch(settings, context))

    return [baselines_changed, baseline_results_file]


def next_runs(watch: Watch) -> Decision:
    """What to start now, or why nothing."""
    if (busy := _busy(watch)) is not None:
        return dg.SkipReason(busy)
    stages = [_analysis, _candidates, _closing] if watch.settings.automation.automation == "all" else [_analysis]
    for stage in stages:
        decision = stage(watch)
        if decision is not None:
            return decision
    return dg.SkipReason("the lane is up to date with its baselines")


def imported_results_changed(watch: Watch) -> Decision:
    """A run of the analysis when the imported directory holds something else than `baseline_results` was made from."""
    if watch.settings.baseline.source != "directory":
        return dg.SkipReason("baselines are trained here: results.csv is written by baseline_results, not watched")
    store = Store(watch.settings.locations)
    if not store.has(Experiment) or store.read(Experiment).baseline.source != "directory":
        return dg.SkipReason("results were imported since experiment was materialized: materialize experiment first")
    if (busy := _busy(watch)) is not None:
        return dg.SkipReason(busy)
    now = results_fingerprint(watch.settings.locations)
    if now is None:
        return dg.SkipReason(f"{watch.settings.locations.baseline_results_csv} is not there")
    records = watch.instance.fetch_materializations(watch.key("baseline_results"), limit=1).records
    materialization = records[0].asset_materialization if records else None
    seen = materialization.metadata.get(SOURCE_HASH) if materialization else None
    if seen is not None and seen.value == now:
        return dg.SkipReason("the imported results are unchanged")
    return _untried(watch, [_analysis_run(watch, f"results-{now}-{watch.latest('baseline_results')}")])


def _analysis(watch: Watch) -> Decision | None:
    if watch.settings.baseline.source == "directory":
        return None
    missing = [seed for seed, state in watch.states("baseline_runs").items() if state.missing]
    if missing:
        return dg.SkipReason(f"baseline seed {', '.join(map(str, missing))} has not run yet")
    state = watch.staleness.of(watch.key("baseline_results"), None)
    if not state.missing and "baseline_runs" not in state.changed:
        return None
    stale = [str(key) for key, state in watch.states("calibration_runs").items() if not (state.fresh or state.missing)]
    if stale:
        return dg.SkipReason(f"baselines changed, but calibration_runs {', '.join(stale)} are stale: materialize them")
    return _untried(watch, [_analysis_run(watch, f"analysis-{watch.latest('baseline_runs')}")])


def _analysis_run(watch: Watch, run_key: str) -> dg.RunRequest:
    """One run of the chain, as far as what it reads is there."""
    chosen: list[str] = []
    for name in ANALYSIS:
        if name not in skipped(watch.settings) and all(
            dep in chosen or watch.made(dep) for dep in declared.assets[name].deps if dep != "baseline_runs"
        ):
            chosen.append(name)
    return _run(watch, "analysis", chosen, run_key)


def _candidates(watch: Watch) -> Decision | None:
    if not watch.staleness.of(watch.key("ratio_inference"), None).fresh:
        return dg.SkipReason("ratio_inference is not up to date: materialize it, and candidates follow")
    waiting = [
        seed
        for seed, state in watch.states("candidate_runs").items()
        if state.missing or "ratio_inference" in state.changed
    ]
    if not waiting:
        return None
    inference = watch.latest("ratio_inference")
    runs = [_run(watch, "candidates", ["candidate_runs"], f"candidates-{inference}-{seed}", seed) for seed in waiting]
    return _untried(watch, runs)


def _closing(watch: Watch) -> Decision | None:
    state = watch.staleness.of(watch.key("inference_schema"), None)
    moved = state.missing or {"candidate_runs", "ratio_inference"} & set(state.changed)
    if not watch.made("candidate_runs") or not moved:
        return None
    newest = max(watch.latest("candidate_runs"), watch.latest("ratio_inference"))
    return _untried(watch, [_run(watch, "analysis", CLOSING, f"summary-{newest}")])


def _run(watch: Watch, job: str, names: Iterable[str], run_key: str, partition: str | None = None) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{watch.settings.experiment}-{run_key}",
        job_name=job,
        asset_selection=[watch.key(name) for name in names],
        partition_key=partition,
    )


def _untried(watch: Watch, requests: list[dg.RunRequest]) -> Decision:
    """The requests that no run was started for yet; without any, how those runs ended.

    Dagster starts a run key once. What failed would most likely fail again, and what a person cancelled isn't wanted,
    so both are left to that person; a run that was killed is started again by the instance's run_retries.
    """
    untried, outcomes = [], []
    for request in requests:
        runs = watch.instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: request.run_key or ""}), limit=1)
        if runs:
            outcomes.append(_outcome(request, runs[0]))
        else:
            untried.append(request)
    return untried or dg.SkipReason("; ".join(outcomes))


def _outcome(request: dg.RunRequest, run: dg.DagsterRun) -> str:
    names = ", ".join(key.path[-1] for key in request.asset_selection or ())
    what = f"{names} {request.partition_key}" if request.partition_key else names
    if run.is_complete_and_waiting_to_retry:
        return f"run {run.run_id[:8]} of {what} was killed and is started again"
    how = {
        dg.DagsterRunStatus.FAILURE: "failed",
        dg.DagsterRunStatus.CANCELED: "was cancelled",
        dg.DagsterRunStatus.SUCCESS: "has ended, but what it made is out of date again",
    }.get(run.status, "is under way")
    return f"run {run.run_id[:8]} of {what} {how}: look at it, then materialize {what} yourself"


def _busy(watch: Watch) -> str | None:
    """Why now is no time to start anything: the lane is being worked on."""
    experiment = watch.settings.experiment
    if dead := end_dead_runs(watch.instance, experiment):
        return f"run {', '.join(run_id[:8] for run_id in dead)} was killed; what it left undone comes next"
    for run in watch.instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)):
        if any(key.path[0] == experiment for key in run.asset_selection or ()):
            return f"run {run.run_id[:8]} of {experiment} is under way"
    for backfill in watch.instance.get_backfills(status=BACKFILL_UNDER_WAY):
        if any(key.path[0] == experiment for key in backfill.asset_selection or ()):
            return f"backfill {backfill.backfill_id} of {experiment} is under way"
    lock = FileLock(watch.settings.locations.local_dir / LOCK, timeout=0)
    try:
        with lock:
            return None
    except Timeout:
        return "laneb run is at work on this experiment"
    except OSError:
        return None


def _watch(settings: Settings, context: dg.SensorEvaluationContext) -> Watch:
    assert context.repository_def is not None
    return Watch(settings, context.instance, Staleness(context.repository_def.asset_graph, context.instance))
