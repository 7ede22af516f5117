"""The whole lane without training."""

import pytest

from laneb.records.inference import Inference
from laneb.training.surface import read_surface


def test_a_simulated_lane_finds_the_ratio_that_its_surface_was_given(simulated_once) -> None:
    store = simulated_once.store
    inference = store.read(Inference)
    surface = read_surface(str(simulated_once.folder / "surface.toml"))
    effects = sorted(surface.seed_effect(seed) + surface.noise(seed, 400 * 128) for seed in (41, 42, 43))
    truth = surface.ratio(inference.target_metric_threshold - sum(effects) / 3)
    assert inference.promotable
    assert inference.inferred_target_param_data_ratio == pytest.approx(truth, rel=0.05)
    assert {row.status for row in store.read_manifest()} == {"ok"}
