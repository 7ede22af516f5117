"""How a run of the lane is executed: in one process, which shows that it lives and waits politely for its turn."""

from collections.abc import Iterator

import dagster as dg

from laneb_assets.dagster_internals import (
    ExecutionPlan,
    InProcessExecutor,
    PlanOrchestrationContext,
    RetryMode,
    raise_execution_interrupts,
)
from laneb_assets.runs.alive import hold
from laneb_assets.runs.slots import wait_for_slot
from laneb_assets.runs.sqlite_files import kept_open


class LaneExecutor(InProcessExecutor):
    """Dagster's in-process executor, for the runs of its daemon and its command line.

    `laneb run` does the same around each of its runs.
    """

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """The run's events."""
        instance, run_id = plan_context.instance, plan_context.run_id
        hold(instance, run_id)
        for step in execution_plan.get_steps_to_execute_by_level()[0]:
            if step.pool is not None:
                # Only within this block does Dagster let a signal through.
                with raise_execution_interrupts():
                    wait_for_slot(instance, run_id, step.key, step.pool, plan_context.log.info)
        with kept_open(instance):
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="in_process")
def lane_executor(_: dg.InitExecutorContext) -> LaneExecutor:
    """One process for a run: training is a process of its own anyway, and a process per step costs seconds."""
    return LaneExecutor(RetryMode.ENABLED)
