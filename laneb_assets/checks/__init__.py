"""The gates on assets; `lane_checks` is all of them."""

import dagster as dg

from laneb.settings import Settings
from laneb_assets.assets.declaring import lane_check
from laneb_assets.checks.gates import (
    a_candidate_beats_the_baseline,
    baselines_agree,
    baselines_finished,
    calibration_finished,
    candidates_finished,
    design_can_be_accepted,
    enough_validation_text,
    entropy_is_measured,
    inference_gates,
    losses_fall_with_tokens,
    realised_as_requested,
    same_data,
)
from laneb_assets.checks.settings import trained_assets, up_to_date_checks


def lane_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Every check of an experiment. With imported results, no baseline that trains is there to be judged."""
    # A checkout validates on a file of its own, whole; its shards here are for the statistics.
    of_text = same_data if settings.training.backend == "nanochat" else enough_validation_text
    checks = [
        lane_check(settings, design_can_be_accepted, asset="lane_b_plan", blocking=False),
        lane_check(settings, of_text, asset="token_shards", blocking=False),
        lane_check(settings, entropy_is_measured, asset="dataset_stats", blocking=False),
        lane_check(settings, baselines_agree, asset="baseline_results", blocking=True),
        lane_check(settings, calibration_finished, asset="calibration_runs", blocking=True),
        lane_check(settings, losses_fall_with_tokens, asset="calibration_points", blocking=False),
        lane_check(settings, candidates_finished, asset="candidate_runs", blocking=False),
        lane_check(settings, realised_as_requested, asset="candidate_runs", blocking=False),
    ]
    if settings.baseline.source == "runs":
        checks.append(lane_check(settings, baselines_finished, asset="baseline_runs", blocking=True))
    checks.append(lane_check(settings, a_candidate_beats_the_baseline, asset="lane_b_summary", blocking=False))
    stale = up_to_date_checks(settings.experiment, trained_assets(settings.baseline.source))
    return [*checks, *stale, inference_gates(settings.experiment)]
