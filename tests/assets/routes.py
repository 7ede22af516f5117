"""The ways to start something on a lane, in this process, and what each then shows."""

from __future__ import annotations

from typing import Any

import dagster as dg
from click.testing import CliRunner

from laneb_assets.assets.experiment import op_name
from laneb_assets.automation.decisions import next_runs
from laneb_assets.automation.staleness import Staleness
from laneb_assets.checks.settings import UP_TO_DATE
from laneb_assets.cli import cli
from laneb_assets.lane_run.steps import Outcome
from laneb_assets.lane_run.walk import run_lane


def launch(lane: Any, *names: str, config: dict[str, object] | None = None, partition: str | None = None) -> str:
    """What the UI's buttons launch: a run of assets, with or without config; the error of what failed, if any."""
    assets, definitions = lane.assets()
    keys = [key for name in names for key in (assets.settings_keys if name == "experiment" else [assets.key(name)])]
    job = definitions.resolve_implicit_global_asset_job_def()
    return _error_of(lane, assets, job, asset_selection=keys, partition_key=partition, config=config)


def launch_job(lane: Any, name: str, config: dict[str, object] | None = None) -> str:
    """A job launched by its name: `dagster job launch`, or the job's own page."""
    assets, definitions = lane.assets()
    return _error_of(lane, assets, definitions.resolve_job_def(name), config=config)


def _error_of(lane: Any, assets: Any, job: Any, *, config: dict[str, object] | None, **chosen: Any) -> str:
    run_config = {"ops": {op_name(assets.experiment): {"config": config}}} if config else {}
    with lane.instance() as instance:
        result = job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False, **chosen)
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    if not failures:
        return ""
    said = failures[0].user_failure_data
    return str(said.description) if said and said.description else str(failures[0].error)


def sensor_says(lane: Any) -> str:
    """Why the sensor starts nothing, or what it starts."""
    assets, _ = lane.assets()
    with lane.instance() as instance:
        decision = next_runs(Staleness(assets, instance))
    if isinstance(decision, dg.SkipReason):
        return str(decision.skip_message)
    return ", ".join(
        f"{key.path[-1]} {request.partition_key or ''}".strip()
        for request in decision
        for key in request.asset_selection or ()
    )


def check_says(lane: Any, asset: str) -> Any:
    """The latest evaluation of `up_to_date_with_settings`, as the UI shows it."""
    key = dg.AssetCheckKey(dg.AssetKey(["simulated", asset]), UP_TO_DATE)
    with lane.instance() as instance:
        [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return record.event.dagster_event.asset_check_evaluation_data


def summary_says(lane: Any) -> str:
    """What `laneb summary` prints."""
    done = CliRunner().invoke(cli, ["summary", "--profile", str(lane.profile)])
    return str(done.exception or done.output)


def laneb_run_trains_first(lane: Any) -> str:
    """The first run that `laneb run` trains, after which it is stopped; empty where it ends without training."""
    first: list[str] = []

    def after(outcome: Outcome) -> None:
        if outcome.numbers.get("runs_trained"):
            first.append(outcome.step.label)
            raise KeyboardInterrupt

    try:
        with lane.instance() as instance:
            outcomes = run_lane(lane.settings, instance, before=lambda step: None, after=after)
    except KeyboardInterrupt:
        return first[0]
    assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
    return ""
