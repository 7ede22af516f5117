"""What the three trained assets share: the spec of a run, and its result kept with its log."""

from collections.abc import Sequence

import dagster as dg

from laneb.places import AnyPath
from laneb.records.experiment import Experiment
from laneb.records.runs import MadeFor, RunResult
from laneb.report.curves import curve_of, lane_curves, threshold_so_far
from laneb.storage.atomic import write_text
from laneb.storage.checksums import checksum
from laneb.storage.store import Store
from laneb.training.progress import read_progress
from laneb.training.run_log import run_log
from laneb_assets.views.curves import curves_figure
from laneb_assets.views.plots import plotted

MOST_OTHERS = 40
"""Runs of the lane that a run is shown among: each run reads them, and more lines than these are a blot."""


def keep(
    store: Store,
    result: RunResult,
    *,
    role: str,
    log: AnyPath,
    made_for: MadeFor | None = None,
    before: str = "",
    after: str = "",
) -> RunResult:
    """Keep a run's result under its role, and its log at the place that the contract names.

    The run knows no threshold, so lines about one (`before` and `after` the log's own) are added to the copy.
    """
    text = before + run_log(store.locations.runs_dir / result.run_id, result) + after
    write_text(log, text)
    kept = result.model_copy(
        update={"log_path": str(log), "log_checksum": checksum(text.encode()), "made_for": made_for}
    )
    store.write_run(role, kept)
    return kept


def run_curves(store: Store, made: Sequence[tuple[str, RunResult]]) -> dg.MetadataValue:
    """The curves of the runs that were made, each in its arm, before the lane's other runs."""
    experiment = store.read(Experiment)
    threshold = threshold_so_far(store, experiment)
    own = [curve_of(run, arm, threshold) for arm, run in made]
    shown = {(curve.arm, curve.seed, curve.steps) for curve in own}
    lane = lane_curves(store, experiment, threshold, most=MOST_OTHERS)
    others = [curve for curve in lane if (curve.arm, curve.seed, curve.steps) not in shown]
    name = "run_" + "_".join(dict.fromkeys(run.run_id for _, run in made))
    return plotted(store, name, curves_figure(own, threshold, others))


def tracker_links(store: Store, run: RunResult, prefix: str = "") -> dict[str, dg.MetadataValue]:
    """Where a run's trackers show it; nothing where it had none."""
    locations = store.locations
    run_dir = locations.work_dir / locations.runs_dir.name / run.run_id
    found: dict[str, dg.MetadataValue] = {}
    for name, link in read_progress(locations.runs_dir / run.run_id).trackers.items():
        web = link.startswith(("http://", "https://"))
        here = dg.MetadataValue.text(link) if "://" in link else dg.MetadataValue.path(str(run_dir / link))
        found[f"{prefix}{name}"] = dg.MetadataValue.url(link) if web else here
    return found


def run_metadata(result: RunResult) -> dict[str, object]:
    """What a run tells Dagster: its loss, horizon and speed."""
    return {
        "run_id": result.run_id,
        "status": result.status,
        "min_val_bpb": result.min_val_bpb,
        "final_val_bpb": result.final_val_bpb,
        "steps": result.steps,
        "tokens": result.tokens,
        "realised_ratio": result.realised_ratio,
        "tok_per_sec_median": result.tok_per_sec_median,
        "training_time_sec": result.total_training_time_sec,
    }
