"""Jobs, one per partition set: one job can't mix them, and asset backfills cover the whole graph anyway."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from laneb_assets.lane import declared, key_of

PARTITIONED = {"baselines": "baseline_runs", "calibration": "calibration_runs", "candidates": "candidate_runs"}


def jobs_of(experiment: str, skip: Sequence[str]) -> list[Any]:
    """`baselines`, `calibration`, `candidates` (by partition) and `analysis` (the unpartitioned chain)."""
    unpartitioned = [name for name, asset in declared.assets.items() if asset.partitions is None and name not in skip]
    jobs = [
        dg.define_asset_job(
            job, selection=[key_of(experiment, name)], description=declared.assets[name].function.__doc__
        )
        for job, name in PARTITIONED.items()
        if name not in skip
    ]
    analysis = dg.define_asset_job(
        "analysis",
        selection=[key_of(experiment, name) for name in unpartitioned],
        description="Every asset without partitions, from the tokenizer to the summary; trains nothing.",
    )
    return [*jobs, analysis]
