"""The answer."""

import dagster as dg

from laneb.planning import plan_of, runs_of
from laneb.report.comparison import comparison_markdown, side_by_side
from laneb.report.curves import lane_curves
from laneb.report.lane import report_of
from laneb.settings import Settings
from laneb.storage.atomic import write_text
from laneb.storage.looks import read_looks, record_looks
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.names import REPORTS
from laneb_assets.resources import Duck, Stored
from laneb_assets.views.curves import curves_figure
from laneb_assets.views.frames import SchemaRowsFrame, checked
from laneb_assets.views.metadata import materialized
from laneb_assets.views.page import report_page
from laneb_assets.views.plots import crossing_times_figure, plotted


def summary_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The answer's asset."""
    return [
        lane_asset(
            settings,
            lane_b_summary,
            group="summary",
            deps=["inference_schema", "ratio_inference", "baseline_results", "baseline_threshold"],
            sections=["candidates"],
            kinds=["duckdb"],
            pool="duckdb",
        )
    ]


def lane_b_summary(context: dg.AssetExecutionContext, store: Stored, warehouse: Duck) -> dg.MaterializeResult:
    """Winner per seed, tally, and whether a candidate beats the baseline at the same threshold."""
    experiment = store.experiment()
    rows = warehouse.current_rows(experiment.experiment)
    report = report_of(store, experiment.experiment, rows, read_looks(warehouse, experiment.experiment))
    if report.verdict is None:
        raise dg.Failure(f"{report.answer.sentence}.", allow_retries=False)
    checked(context, SchemaRowsFrame, rows)
    for warning in report.warnings:
        context.log.warning(warning)
    path = store.write(report.verdict)
    record_looks(warehouse, experiment.experiment, [mode.look for mode in report.verdict.modes if mode.look])
    crossing_times = plotted(store, "crossing_times", crossing_times_figure(report.verdict))
    threshold = report.verdict.threshold
    curves = plotted(store, "curves", curves_figure(lane_curves(store, experiment, threshold), threshold))
    experiments = side_by_side(warehouse, experiment.experiment, store.locations)
    markdown = report.markdown() + comparison_markdown(experiments)
    write_text(store.locations.summary_md, markdown)
    page = store.locations.report_html
    plan = plan_of(store.loaded, runs_of(store, store.loaded), neighbours=False)
    write_text(page, report_page(report, store, experiments, plan))
    return materialized(
        report.verdict,
        path,
        first={
            "answer": f"{report.answer.sentence}.",
            "curves": curves,
            "runs": dg.MetadataValue.md(report.small_arm_table()),
            "report": dg.MetadataValue.path(str(page)),
            "open_report": dg.MetadataValue.url(f"{REPORTS}{experiment.experiment}"),
        },
        decision=report.verdict.decision,
        ratio=report.inference.inferred_target_param_data_ratio if report.inference else None,
        extra={"crossing_times": crossing_times, "summary": dg.MetadataValue.md(markdown)},
    )
