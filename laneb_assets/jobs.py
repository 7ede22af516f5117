"""Jobs, one per partition set: one job can't mix them, and asset backfills cover the whole graph anyway."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from laneb.settings import Settings
from laneb_assets.names import EXPERIMENT_TAG, key_of

BY_PARTITION = {"baselines": "baseline_runs", "calibration": "calibration_runs", "candidates": "candidate_runs"}
ANALYSIS = "analysis"


def job_of(asset: str) -> str:
    """The job that an asset is made by, under which the UI's timeline and job squares show its runs."""
    return next((job for job, made in BY_PARTITION.items() if made == asset), ANALYSIS)


def jobs_of(settings: Settings, assets: Sequence[dg.AssetsDefinition]) -> list[Any]:
    """`baselines`, `calibration`, `candidates` (by partition) and `analysis` (the unpartitioned chain)."""
    by_key = {key: definition for definition in assets for key in definition.keys}
    tags = {EXPERIMENT_TAG: settings.experiment}
    jobs = []
    for job, name in BY_PARTITION.items():
        key = key_of(settings.experiment, name)
        if key in by_key:
            description = by_key[key].descriptions_by_key.get(key)
            jobs.append(dg.define_asset_job(job, selection=[key], description=description, tags=tags))
    whole = [key for key, definition in by_key.items() if definition.partitions_def is None]
    analysis = dg.define_asset_job(
        ANALYSIS,
        selection=sorted(whole),
        description="Every asset without partitions, from the settings to the summary; trains nothing.",
        tags=tags,
    )
    return [*jobs, analysis]
