"""The sensors `baselines_changed` and `baseline_results_file`: the decisions, asked by Dagster's daemon."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from laneb.settings import Settings
from laneb_assets.automation.decisions import Decision, imported_results_changed, next_runs
from laneb_assets.automation.staleness import Staleness
from laneb_assets.lane import Lane

CHANGED = "Rerun the lane from new baselines on: analysis, then candidates, then schema rows and summary."
FILE = "Rerun the analysis when the imported results directory changes: its content, not its times."


def sensors_of(settings: Settings, jobs: Sequence[Any]) -> list[dg.SensorDefinition]:
    """`baselines_changed` and `baseline_results_file`, as the experiment's automation setting has them."""
    started = [job for job in jobs if job.name in ("analysis", "candidates")]
    status = (
        dg.DefaultSensorStatus.STOPPED if settings.automation.automation == "off" else dg.DefaultSensorStatus.RUNNING
    )

    def ask(question: Callable[[Staleness], Decision], context: dg.SensorEvaluationContext) -> Decision:
        assert context.repository_def is not None
        lane = Lane(settings, context.repository_def.asset_graph)
        return question(Staleness(lane, context.instance))

    @dg.sensor(jobs=started, minimum_interval_seconds=10, default_status=status, description=CHANGED)
    def baselines_changed(context: dg.SensorEvaluationContext):
        return ask(next_runs, context)

    @dg.sensor(jobs=started, minimum_interval_seconds=30, default_status=status, description=FILE)
    def baseline_results_file(context: dg.SensorEvaluationContext):
        return ask(imported_results_changed, context)

    return [baselines_changed, baseline_results_file]
