"""Checks on what was measured, called as Dagster calls them."""

from dataclasses import replace

import dagster as dg
import numpy as np
import pandas as pd

from laneb.knobs import StatisticsKnobs
from laneb.records.experiment import Experiment
from laneb.statistics import measure_dataset
from laneb.storage.store import Store
from laneb_assets.checks import baselines_agree, entropy_is_measured


def check(store, tokens, **knobs) -> dg.AssetCheckResult:
    settings = StatisticsKnobs(corr_max_sep=4, fit_optuna_trials=1, ent_num_points=4, ent_min_usable_points=3, **knobs)
    starts = np.arange(0, len(tokens), 100)
    store.write(
        measure_dataset(tokens, starts, knobs=settings, dataset_id="d", tokenizer_id="t", split="train", vocab_size=30)
    )
    return entropy_is_measured(store)


def test_an_entropy_fit_on_starved_contexts_is_a_warning_with_its_numbers(lane) -> None:
    found = check(lane.store, np.random.default_rng(0).integers(0, 30, 3000), ent_max_ctx=8)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.description.startswith("2 of 3 context lengths of the entropy fit (2, 3) are bracketed too widely")
    assert "20%" in found.description and "statistics.max_tokens" in found.description
    assert found.metadata["too_wide"].value + found.metadata["usable"].value == found.metadata["fitted"].value


def test_starved_contexts_are_no_warning_where_the_exponent_is_correlations_alone(simulated_once) -> None:
    store, tokens = simulated_once.store, np.random.default_rng(0).integers(0, 30, 3000)
    experiment = store.read(Experiment)
    inference = experiment.inference.model_copy(update={"paper_mapping_id": "corr_only_v1"})
    elsewhere = Store(replace(store.locations, work_dir=store.locations.work_dir / "unused"))
    for mapping, passes in ((experiment.inference, False), (inference, True)):
        elsewhere.write(experiment.model_copy(update={"inference": mapping}))
        assert check(elsewhere, tokens, ent_max_ctx=8).passed == passes


def test_an_entropy_fit_on_well_sampled_contexts_passes(lane) -> None:
    found = check(lane.store, np.random.default_rng(0).integers(0, 4, 60_000), ent_max_ctx=4)
    assert found.passed
    assert found.metadata["too_wide"].value == 0


def test_baselines_of_mixed_horizons_block_what_follows(finished_simulated_lane) -> None:
    store = finished_simulated_lane.store
    assert baselines_agree(store).passed
    results = store.locations.baseline_results_csv
    rows = pd.read_csv(results)
    rows.loc[rows["seed"] == 42, "target_param_data_ratio"] = 10.5
    rows.loc[rows["seed"] == 43, "depth"] = -1
    rows.to_csv(results, index=False)
    found = baselines_agree(store)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description.startswith(
        "target_param_data_ratio is 2.2695 of seed 41, 43 and 10.5 of seed 42. Train or"
    )
