"""What the lane can find out, said before it trains."""

import dagster as dg

from laneb.planning import plan_of, runs_of
from laneb.records.plan import Plan
from laneb.report.markdown import markdown_table
from laneb.report.plan import next_sentence, plan_columns, plan_rows
from laneb.settings import Settings
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.resources import Stored
from laneb_assets.views.metadata import materialized


def planning_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The plan. Nothing is made from it, and it can be made before anything trains; calibration makes it stale."""
    sections = ["data", "model", "training", "baseline", "threshold", "calibration", "candidates"]
    return [
        lane_asset(
            settings, lane_b_plan, group="planning", deps=["calibration_points"], sections=sections, kinds=["scipy"]
        )
    ]


def lane_b_plan(context: dg.AssetExecutionContext, store: Stored) -> dg.MaterializeResult:
    """What this design and its neighbours can find out, at what cost; after calibration, the next run that pays most.

    Before calibration it speaks of assumed losses and spreads, afterwards of those of the runs: new points make it
    stale, and `laneb run` and the sensors make it again.
    """
    experiment = store.experiment()
    plan = plan_of(experiment, runs_of(store, experiment))
    for problem in plan.problems:
        context.log.warning(problem)
    path = store.write(plan)
    stands = plan.forecasts[0]
    return materialized(
        plan,
        path,
        extra={
            "designs": dg.MetadataValue.md(designs_table(plan)),
            "assumed_from": plan.assumed_from,
            "next": "none" if plan.next_step is None else next_sentence(plan.next_step),
        },
        half_width=stands.half_width,
        least_gain=stands.least_gain,
        **{f"power_at_{float(gain):.0%}".replace("%", "_percent"): power for gain, power in stands.power.items()},
        train_sec=stands.train_sec,
    )


def designs_table(plan: Plan) -> str:
    """The forecasts as Markdown, and what is wrong with the design."""
    table = markdown_table(plan_columns(plan), plan_rows(plan))
    return "\n".join([table, *(text for problem in plan.problems for text in ("", f"- {problem}"))])
