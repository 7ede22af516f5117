"""Plots: drawn whatever was measured, without a warning, and small where Dagster keeps them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from laneb.knobs import StatisticsKnobs
from laneb.records.runs import ContextLoss
from laneb.records.statistics import ContextLossDecay
from laneb.statistics import measure_dataset
from laneb_assets.views.plots import plotted
from laneb_assets.views.statistics_plots import context_loss_figure, statistics_figure

pytestmark = pytest.mark.filterwarnings("error")


def statistics(tokens):
    return measure_dataset(
        np.asarray(tokens), np.arange(0, len(tokens), max(1, len(tokens) // 4)),
        knobs=StatisticsKnobs(corr_max_sep=8, ent_max_ctx=8, fit_optuna_trials=1), dataset_id="d", tokenizer_id="t",
        split="train", vocab_size=50,
    )  # fmt: skip


@pytest.mark.parametrize(
    "tokens", [[4] * 500, [1, 2, 3], list(range(500)), [0, 1] * 250, np.random.default_rng(0).integers(0, 9, 5000)]
)
def test_statistics_are_drawn_at_both_sizes(lane, tokens) -> None:
    shown = plotted(lane.store, "statistics", statistics_figure(statistics(tokens)))
    small = base64.b64decode(shown.value.partition("base64,")[2].rstrip(")"))
    assert len(small) < 30_000
    large = (lane.settings.locations.plots_dir / "statistics.png").read_bytes()
    widths = [Image.open(io.BytesIO(data)).width for data in (small, large)]
    assert widths[0] > 600 and widths[1] > 1500


@pytest.mark.parametrize("fitted", [True, False])
def test_the_loss_by_context_is_drawn_with_and_without_a_fit(fitted) -> None:
    fit = {"gamma": 0.5, "gamma_interval": (0.4, 0.6), "amplitude": 2.0, "h_inf_bits": 3.0, "r2": 0.9}
    curve = tuple(ContextLoss(n, n, 3.0 + 2.0 * n**-0.5, 0.1) for n in range(1, 9))
    decay = ContextLossDecay(
        timestamp_utc="", run_ids=("a",), fingerprints=("a",), rows=9, curve=curve, beta=0.5, **(fit if fitted else {})
    )
    buffer = io.BytesIO()
    context_loss_figure(decay).savefig(buffer)
    assert buffer.tell() > 5000
