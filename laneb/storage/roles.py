"""Runs by the role they have in the lane. One run can have several: a calibration run can be a baseline too."""

from __future__ import annotations

from laneb.records.candidates import MODES, Mode
from laneb.records.experiment import Experiment
from laneb.records.runs import RunResult
from laneb.storage.atomic import StorageError
from laneb.storage.products import baseline_role, calibration_role, candidate_role, imported_role
from laneb.storage.store import Store

__all__ = [
    "baseline_role",
    "baseline_runs",
    "calibration_role",
    "calibration_runs",
    "candidate_role",
    "candidate_runs",
    "imported_role",
    "same_recipe",
]


def baseline_runs(store: Store, experiment: Experiment) -> list[RunResult]:
    """The result of every baseline seed; of imported results, of every seed that has a log.

    Raises:
        StorageError: one isn't there (its partition is named), or they were trained on different recipes.
    """
    seeds = experiment.baseline.seeds
    if experiment.baseline.source == "directory":
        names = [imported_role(seed) for seed in seeds if store.has_run(imported_role(seed))]
        return [store.read_run(name, "baseline_results") for name in names]
    runs = [store.read_run(baseline_role(seed), f"baseline_runs partition {seed}") for seed in seeds]
    return same_recipe(runs, "baseline_runs")


def calibration_runs(store: Store, experiment: Experiment) -> list[RunResult]:
    """The result of every calibration horizon and seed; raises as `baseline_runs`."""
    runs = [
        store.read_run(calibration_role(steps, seed), f"calibration_runs partition {steps}|{seed}")
        for steps in experiment.calibration.iterations
        for seed in experiment.calibration.all_seeds
    ]
    return same_recipe(runs, "calibration_runs")


def candidate_runs(store: Store, experiment: Experiment) -> dict[tuple[Mode, int], RunResult]:
    """The candidate results that are there, by mode and seed."""
    return {
        (mode, seed): store.read_run(candidate_role(mode, seed), f"candidate_runs partition {seed}")
        for mode in MODES
        for seed in experiment.candidates.run_seeds
        if store.has_run(candidate_role(mode, seed))
    }


def same_recipe(runs: list[RunResult], asset: str) -> list[RunResult]:
    """The runs, if all but seed and horizon is equal among them.

    Raises:
        StorageError: they are mixed; the seeds of each kind are named.
    """
    recipes: dict[str, list[str]] = {}
    for run in runs:
        recipes.setdefault(run.recipe, []).append(run.run_id)
    if len(recipes) > 1:
        groups = "; ".join(f"{', '.join(names)} on {recipe}" for recipe, names in recipes.items())
        raise StorageError(
            f"{asset} are mixed: trained with different settings, corpus or number format ({groups}). Materialize the "
            f"stale partitions of {asset} again (or run: laneb run)."
        )
    return runs
