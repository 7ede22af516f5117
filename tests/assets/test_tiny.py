"""The tiny profile on the embedded corpus: the one test that trains it."""

import itertools

import pytest

from laneb.settings import load_settings
from laneb.storage.store import Store
from laneb_assets.definitions import definitions_of
from laneb_assets.lane import Lane
from laneb_assets.lane_run.execution import materialize_step
from laneb_assets.lane_run.steps import Step


@pytest.mark.slow
def test_a_tiny_baseline_learns(lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(lane.folder / "data"))
    monkeypatch.setenv("LANE_B_BASELINE_NUM_ITERATIONS", "100")
    settings = load_settings("tiny")
    definitions = definitions_of(settings)
    assets = Lane(settings, definitions.resolve_asset_graph())
    with lane.instance() as instance:
        for step in (Step("experiment"), Step("tokenizer"), Step("token_shards"), Step("baseline_runs", "41")):
            outcome = materialize_step(assets, definitions, instance, step)
            assert outcome.state == "done", outcome.error
    curve = [point.bpb for point in Store(settings.locations).read_run("baseline_s41", "").val_curve]
    rises = sum(later >= earlier for earlier, later in itertools.pairwise(curve))
    assert rises <= 1
    assert curve[-1] < 0.8 * curve[0]
