"""One step as a Dagster run in this process."""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import dagster as dg

from laneb_assets.dagster_internals import execute_as_of_location
from laneb_assets.jobs import job_of
from laneb_assets.lane import Lane
from laneb_assets.lane_run.steps import Outcome, Step
from laneb_assets.names import EXPERIMENT, EXPERIMENT_TAG, LANE_RUN_TAG, TRAINED
from laneb_assets.resources import STOPPED
from laneb_assets.runs.alive import alive
from laneb_assets.runs.slots import wait_for_slot
from laneb_assets.runs.sqlite_files import begin_log, kept_open
from laneb_assets.views.progress import waits_told
from laneb_assets.workspace import location_of

BAD_INPUT = ("CorpusError", "SettingsError", "CheckoutError", "ResultsError")


def materialize_step(
    lane: Lane,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    step: Step,
    say: Callable[[str], None] = print,
    *,
    lane_run: str = "",
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Materialize one step in this process.

    Args:
        lane: the experiment.
        definitions: its definitions.
        instance: where the run is kept.
        step: what to materialize.
        say: gets a sentence when it waits for its turn, or for a file that another process holds.
        lane_run: what joins the runs of one `laneb run`.
        should_stop: whether a step that waits for its turn is to stop.

    Raises:
        KeyboardInterrupt: it was told to stop; a run that was training has a checkpoint.
    """
    run_id = str(uuid4())
    with alive(instance, run_id), kept_open(instance), waits_told(say):
        begin_log(instance, run_id)
        if pool := lane.pool(step.asset):
            wait_for_slot(instance, run_id, *pool, say=say, should_stop=should_stop)
        started = time.monotonic()
        result = execute_as_of_location(
            definitions.resolve_job_def(job_of(step.asset)),
            instance,
            location=location_of(lane.settings),
            run_id=run_id,
            assets=set(lane.settings_keys if step.asset == EXPERIMENT else [lane.key(step.asset)]),
            partition=step.partition,
            run_config=_run_config(lane, step),
            tags={EXPERIMENT_TAG: lane.experiment, **({LANE_RUN_TAG: lane_run} if lane_run else {})},
        )
        seconds = time.monotonic() - started
    if not result.success:
        message, kind = _error_of(result)
        if message.startswith(STOPPED) or kind == dg.DagsterExecutionInterruptedError.__name__:
            raise KeyboardInterrupt
        return Outcome(step, "failed", seconds, error=message, bad_input=kind in BAD_INPUT)
    return Outcome(step, "done", seconds, _numbers_of(result), failed_checks=_failed_checks(result))


def _run_config(lane: Lane, step: Step) -> dict[str, Any]:
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
    if step.repeat and step.asset in TRAINED:
        config["ops"] = {lane.op_name(step.asset): {"config": {"repeat": True}}}
    return config


def _numbers_of(result: dg.JobExecutionResult) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for event in result.get_asset_materialization_events():
        for name, value in event.materialization.metadata.items():
            if isinstance(
                value, (dg.FloatMetadataValue, dg.IntMetadataValue, dg.TextMetadataValue, dg.BoolMetadataValue)
            ):
                numbers[name] = value.value
    return numbers


def _failed_checks(result: dg.JobExecutionResult) -> tuple[str, ...]:
    return tuple(
        f"{evaluation.check_name}: {evaluation.description or 'failed'}"
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    )


def _error_of(result: dg.JobExecutionResult) -> tuple[str, str]:
    """What went wrong and the name of its class: in the words of Lane B's own error, else of the first cause."""
    for event in result.all_events:
        if event.is_step_failure or event.is_job_failure:
            failure = event.step_failure_data if event.is_step_failure else event.job_failure_data
            if event.is_step_failure and failure.user_failure_data and failure.user_failure_data.description:
                return str(failure.user_failure_data.description), "Failure"
            errors, error = [], failure.error
            while error is not None:
                errors.append(error)
                error = error.cause
            if errors:
                own = _own_errors()
                told = next((error for error in errors if error.cls_name in own), errors[-1])
                kind, message = str(told.cls_name), str(told.message).strip()
                return message.partition(": ")[2] if message.partition(": ")[0].endswith(kind) else message, kind
    return "the run failed; its log is in the UI", ""


def _own_errors() -> set[str]:
    """Names of the errors that Lane B raises with a sentence for people."""
    kinds: set[type] = set()
    waiting: list[type] = [Exception]
    while waiting:
        found = [kind for kind in waiting.pop().__subclasses__() if kind not in kinds]
        kinds.update(found)
        waiting += found
    return {kind.__name__ for kind in kinds if kind.__module__.partition(".")[0] in ("laneb", "laneb_assets")}
