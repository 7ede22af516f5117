"""What reruns by itself when baselines change: once, in order, and nothing when nothing changed.

One sensor walks the lane in three stages, each a run (or one per seed) that starts only when the one before is up to
date: the analysis chain, the candidates, the schema rows with the summary. What is up to date is Dagster's own answer,
by data versions, so that a baseline rematerialized with the same losses starts nothing, and a daemon that was killed
goes on where the lane stands. Declarative automation would start candidates in the same tick as the inference that
they wait for (dagster#30004).
"""

from collections.abc import Iterable

import dagster as dg

from laneb.records.experiment import Experiment
from laneb.settings import SettingsError
from laneb.storage.atomic import StorageError
from laneb.storage.overrides import current_experiment
from laneb.storage.products import SOURCE_HASH
from laneb.storage.results import results_fingerprint
from laneb_assets.automation.runs import busy
from laneb_assets.automation.staleness import Staleness
from laneb_assets.checks.settings import stale_partitions
from laneb_assets.names import PLAN

ANALYSIS = ("baseline_results", "baseline_threshold", "context_loss", "calibration_points", PLAN, "ratio_inference")
CLOSING = ("inference_schema", "lane_b_summary")

RUN_KEY_TAG = "dagster/run_key"
"""By which Dagster knows the run that a sensor's request led to."""

Decision = dg.SkipReason | list[dg.RunRequest]


def next_runs(state: Staleness) -> Decision:
    """What to start now, or why nothing."""
    if (behind := _behind(state)) is not None:
        return dg.SkipReason(behind)
    if (reason := busy(state.lane, state.instance)) is not None:
        return dg.SkipReason(reason)
    stages = [_analysis, _candidates, _closing] if state.lane.settings.automation.automation == "all" else [_analysis]
    for stage in stages:
        decision = stage(state)
        if decision is not None:
            return decision
    return dg.SkipReason("the lane is up to date with its baselines")


def _behind(state: Staleness) -> str | None:
    """Why what is stored can't be worked on: profile, environment or overrides say something else by now."""
    try:
        current_experiment(state.lane.store, state.lane.settings)
    except (SettingsError, StorageError) as error:
        return str(error)
    return None


def imported_results_changed(state: Staleness) -> Decision:
    """A run of the analysis when the imported directory holds something else than `baseline_results` was made from."""
    if state.lane.settings.baseline.source != "directory":
        return dg.SkipReason("baselines are trained here: results.csv is written by baseline_results, not watched")
    store = state.lane.store
    if not store.has(Experiment) or store.read(Experiment).baseline.source != "directory":
        return dg.SkipReason("results were imported since experiment was materialized: materialize experiment first")
    if (reason := busy(state.lane, state.instance)) is not None:
        return dg.SkipReason(reason)
    now = results_fingerprint(state.lane.settings.locations)
    if now is None:
        return dg.SkipReason(f"{state.lane.settings.locations.baseline_results_csv} is not there")
    records = state.instance.fetch_materializations(state.lane.key("baseline_results"), limit=1).records
    materialization = records[0].asset_materialization if records else None
    seen = materialization.metadata.get(SOURCE_HASH) if materialization else None
    if seen is not None and seen.value == now:
        return dg.SkipReason("the imported results are unchanged")
    return _untried(state, [_analysis_run(state, f"results-{now}-{state.latest('baseline_results')}")])


def _analysis(state: Staleness) -> Decision | None:
    if state.lane.settings.baseline.source == "directory":
        return None
    missing = [seed for seed, found in state.partitions("baseline_runs").items() if found.missing]
    if missing:
        return dg.SkipReason(f"baseline seed {', '.join(map(str, missing))} has not run yet")
    if stale := stale_partitions(state.lane.store, "baseline_runs"):
        return dg.SkipReason(f"baseline_runs {'; '.join(map(str, stale))}: materialize them, and the analysis follows")
    results = state.of("baseline_results")
    if not results.missing and "baseline_runs" not in results.changed:
        return None
    if stale := stale_partitions(state.lane.store, "calibration_runs"):
        what = "; ".join(map(str, stale))
        return dg.SkipReason(f"baselines changed, but calibration_runs {what} are stale: materialize them")
    return _untried(state, [_analysis_run(state, f"analysis-{state.latest('baseline_runs')}")])


def _analysis_run(state: Staleness, run_key: str) -> dg.RunRequest:
    """One run of the chain, as far as what it reads is there."""
    chosen: list[str] = []
    for name in ANALYSIS:
        if state.lane.has(name) and all(
            dep in chosen or state.made(dep) for dep in state.lane.parents(name) if dep != "baseline_runs"
        ):
            chosen.append(name)
    return _run(state, "analysis", chosen, run_key)


def _candidates(state: Staleness) -> Decision | None:
    if not state.of("ratio_inference").fresh:
        behind = [name for name in ANALYSIS if state.lane.has(name) and not state.of(name).fresh]
        what = "it" if len(behind) == 1 else "them"
        return dg.SkipReason(f"{', '.join(behind)} not up to date: materialize {what}, and candidates follow")
    waiting = [
        seed
        for seed, found in state.partitions("candidate_runs").items()
        if found.missing or "ratio_inference" in found.changed
    ]
    if not waiting:
        return None
    inference = state.latest("ratio_inference")
    runs = [_run(state, "candidates", ["candidate_runs"], f"candidates-{inference}-{seed}", seed) for seed in waiting]
    return _untried(state, runs)


def _closing(state: Staleness) -> Decision | None:
    rows = state.of("inference_schema")
    moved = rows.missing or {"candidate_runs", "ratio_inference"} & set(rows.changed)
    if not state.made("candidate_runs") or not moved:
        return None
    newest = max(state.latest("candidate_runs"), state.latest("ratio_inference"))
    return _untried(state, [_run(state, "analysis", CLOSING, f"summary-{newest}")])


def _run(state: Staleness, job: str, names: Iterable[str], run_key: str, partition: str | None = None) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{state.lane.settings.experiment}-{run_key}",
        job_name=job,
        asset_selection=[state.lane.key(name) for name in names],
        partition_key=partition,
    )


def _untried(state: Staleness, requests: list[dg.RunRequest]) -> Decision:
    """The requests that no run was started for yet; without any, how those runs ended.

    Dagster starts a run key once. What failed would most likely fail again, and what a person cancelled isn't wanted,
    so both are left to that person; a run that was killed is started again by the instance's run_retries.
    """
    untried, outcomes = [], []
    for request in requests:
        runs = state.instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: request.run_key or ""}), limit=1)
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
