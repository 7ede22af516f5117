"""The lane's assets, a module a domain; `lane_assets` is all of them."""

import dagster as dg

from laneb.settings import Settings
from laneb_assets.assets.baseline import baseline_assets
from laneb_assets.assets.calibration import calibration_assets
from laneb_assets.assets.candidates import candidate_assets
from laneb_assets.assets.corpus import corpus_assets
from laneb_assets.assets.experiment import experiment_assets
from laneb_assets.assets.inference import inference_assets
from laneb_assets.assets.planning import planning_assets
from laneb_assets.assets.statistics import statistics_assets
from laneb_assets.assets.summary import summary_assets


def lane_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Every asset of an experiment."""
    assets = [
        *experiment_assets(settings),
        *planning_assets(settings),
        *corpus_assets(settings),
        *baseline_assets(settings),
        *statistics_assets(settings),
        *calibration_assets(settings),
        *inference_assets(settings),
        *candidate_assets(settings),
        *summary_assets(settings),
    ]
    return [linked for linked in dg.with_source_code_references(assets) if isinstance(linked, dg.AssetsDefinition)]
