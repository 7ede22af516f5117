"""What each asset leaves behind: its records, the files beside them, and the roles of the runs that it trains.

The one table of it. The store finds a record's place here; whether an asset is up to date is judged by what stands
here; `laneb run` and the sensors ask for that judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from laneb.places import AnyPath, Locations
from laneb.records.base import Record
from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration
from laneb.records.candidates import MODES
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.plan import Plan
from laneb.records.scaling import ScalingParams
from laneb.records.statistics import ContextLossDecay, DatasetStats
from laneb.records.verdict import Verdict

SOURCE_HASH = "source_hash"
"""Metadata of `baseline_results`: the content of the imported directory that it was made from."""

Place = Callable[[Locations], AnyPath]


def baseline_role(seed: int) -> str:
    """The baseline of a seed."""
    return f"baseline_s{seed}"


def imported_role(seed: int) -> str:
    """The baseline of a seed that was made elsewhere: it never passes for one that was trained here."""
    return f"imported_s{seed}"


def calibration_role(steps: int, seed: int) -> str:
    """The calibration run of a horizon [steps] and a seed."""
    return f"laneb_calib_{steps}_s{seed}"


def candidate_role(mode: str, seed: int) -> str:
    """The candidate run of a mode and a seed, which is also its `run_id` in the manifest."""
    return f"laneb_{mode}_s{seed}"


def horizon_and_seed(partition: str) -> tuple[int, int]:
    """The horizon [steps] and the seed of a calibration partition, `<horizon>|<seed>`."""
    horizon, seed = partition.split("|")
    return int(horizon), int(seed)


@dataclass(frozen=True)
class Product:
    """What one asset leaves behind."""

    record: type[Record] | None = None
    """What it is versioned by, where that is one record."""
    at: Place | None = None
    """Where that record lies."""
    beside: tuple[Place, ...] = ()
    """Files that it writes with it."""
    roles: Callable[[str], Sequence[str]] | None = field(default=None)
    """For an asset that trains: the roles of a partition, of which it fills at least one."""

    def places(self, locations: Locations) -> list[AnyPath]:
        """Every file of it, record first."""
        return [place(locations) for place in (*([self.at] if self.at else []), *self.beside)]


PRODUCTS: Mapping[str, Product] = {
    "experiment": Product(Experiment, lambda at: at.experiment_json),
    "lane_b_plan": Product(Plan, lambda at: at.work_dir / "plan.json"),
    "tokenizer": Product(TokenizerInfo, lambda at: at.work_dir / "tokenizer.json"),
    "token_shards": Product(TokenShards, lambda at: at.work_dir / "token_shards.json"),
    "baseline_runs": Product(roles=lambda partition: [baseline_role(int(partition))]),
    "baseline_results": Product(beside=(lambda at: at.baseline_results_csv,)),
    "baseline_threshold": Product(
        BaselineThreshold, lambda at: at.baseline_threshold_json, (lambda at: at.baseline_threshold_env,)
    ),
    "scaling_params": Product(ScalingParams, lambda at: at.scaling_json, (lambda at: at.scaling_txt,)),
    "dataset_stats": Product(DatasetStats, lambda at: at.stats_json),
    "context_loss": Product(ContextLossDecay, lambda at: at.work_dir / "context_loss.json"),
    "calibration_runs": Product(roles=lambda partition: [calibration_role(*horizon_and_seed(partition))]),
    "calibration_points": Product(Calibration, lambda at: at.calib_json, (lambda at: at.calib_env,)),
    "ratio_inference": Product(Inference, lambda at: at.infer_json),
    "candidate_runs": Product(roles=lambda partition: [candidate_role(mode, int(partition)) for mode in MODES]),
    "inference_schema": Product(
        beside=(lambda at: at.manifest_csv, lambda at: at.schema_path, lambda at: at.duckdb_path)
    ),
    "lane_b_summary": Product(
        Verdict,
        lambda at: at.work_dir / "verdict.json",
        (lambda at: at.summary_md, lambda at: at.report_html),
    ),
}
"""By the asset's short name."""

MADE_BY: Mapping[type[Record], str] = {
    product.record: asset for asset, product in PRODUCTS.items() if product.record is not None
}
"""The asset that makes each record."""
