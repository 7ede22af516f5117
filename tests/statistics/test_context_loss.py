"""gamma from the loss of finished runs by the length of context."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_statistics import markov_source

from laneb.knobs import StatisticsKnobs
from laneb.records.runs import ContextLoss, ContextLosses, RunResult
from laneb.records.statistics import ContextLossDecay, DatasetStats, PowerLaw
from laneb.statistics import context_loss_decay, fit_context_losses, measure_dataset
from laneb.statistics.context_loss import average_curve
from laneb.training.evaluation import context_bins

ROWS, AVAILABLE = 400, 4000


@pytest.fixture(scope="module")
def stats() -> DatasetStats:
    tokens, _ = markov_source(4000, 20, seed=3)
    return measure_dataset(
        tokens, np.arange(0, 4000, 100), knobs=StatisticsKnobs(corr_max_sep=8, ent_max_ctx=8, fit_optuna_trials=1),
        dataset_id="d", tokenizer_id="t", split="train", vocab_size=20,
    )  # fmt: skip


def drawn(generator: np.random.Generator, gamma: float, *, available: int = AVAILABLE, longest: int = 128):
    """Losses by context as a run of `ROWS` rows would show them: a power law, surprises, and rows that differ."""
    lengths = np.arange(1, longest + 1)
    rows = 2.0 * lengths**-gamma + 5.0 + generator.normal(0, 3.3, (ROWS, longest)) + generator.normal(0, 1, (ROWS, 1))
    shape = rows - rows.mean(axis=1, keepdims=True)
    curve = []
    for first, last in context_bins(longest):
        own = slice(first - 1, last)
        error = shape[:, own].mean(axis=1).std(ddof=1) / math.sqrt(ROWS)
        curve.append(ContextLoss(first, last, float(rows[:, own].mean()), float(error)))
    return ContextLosses(rows=ROWS, rows_available=available, curve=tuple(curve))


def without_error(losses: ContextLosses | None) -> ContextLosses | None:
    if losses is None:
        return None
    exact = tuple(ContextLoss(point.first, point.last, point.bits, 1e-9) for point in losses.curve)
    return losses.model_copy(update={"curve": exact})


def run(seed: int, losses: ContextLosses | None, **changes: object) -> RunResult:
    values: dict[str, object] = {
        "timestamp_utc": "2026-01-01T00:00:00Z", "run_id": f"d1_i9_s{seed}", "fingerprint": f"f{seed}",
        "backend": "builtin", "seed": seed, "depth": 1, "max_seq_len": 128, "device_batch_size": 8,
        "total_batch_size": 1024, "n_scaling_params": 1000, "steps": 9, "warmdown_ratio": 0.5, "status": "ok",
        "val_curve": ((9, 1.0, 2.0),), "context_losses": losses, "final_train_loss": 2.0, "tok_per_sec_median": None,
        "dt_median_ms": None, "total_training_time_sec": None, "wall_time_sec": None, "peak_mem_mib": None,
        "device": "cpu",
    }  # fmt: skip
    return RunResult.model_validate(values | changes)


@settings(max_examples=20)
@given(st.floats(0.1, 1.0), st.floats(0.5, 5.0), st.floats(0.0, 5.0))
def test_gamma_is_recovered_from_exact_losses(gamma, amplitude, floor):
    contexts = np.arange(1, 256)
    fit = fit_context_losses(contexts, amplitude * contexts**-gamma + floor)
    assert fit.gamma == pytest.approx(gamma, abs=1e-6)
    assert fit.h_inf_bits == pytest.approx(floor, abs=1e-5)
    assert fit.gamma_interval is None


@settings(max_examples=10)
@given(st.floats(0.2, 1.0), st.floats(0.5, 3.0))
def test_scaling_the_losses_leaves_gamma_and_adding_a_constant_moves_the_floor_alone(gamma, factor):
    contexts = np.arange(1, 129)
    losses = 2 * contexts**-gamma + 3 + 0.1 * np.sin(contexts)
    fit, scaled = fit_context_losses(contexts, losses), fit_context_losses(contexts, factor * losses)
    raised = fit_context_losses(contexts, losses + factor)
    assert scaled.gamma == pytest.approx(fit.gamma, abs=1e-6)
    assert raised.gamma == pytest.approx(fit.gamma, abs=1e-6)
    assert raised.h_inf_bits == pytest.approx(fit.h_inf_bits + factor, abs=1e-5)


def test_noise_about_the_floor_does_not_pull_gamma_down():
    """The smallest of many noisy losses lies far below the floor: it must not bound the fit's."""
    contexts, generator = np.arange(1, 257), np.random.default_rng(0)
    found = [
        fit_context_losses(contexts, 2.0 * contexts**-0.8 + 5.0 + generator.normal(0, 0.1, contexts.size)).gamma
        for _ in range(30)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


@pytest.mark.sampling
def test_the_interval_covers_gamma(stats):
    generator, covered, widths = np.random.default_rng(1), 0, []
    for _ in range(12):
        decay = context_loss_decay([run(seed, drawn(generator, 0.6)) for seed in (1, 2, 3)], stats)
        low, high = decay.gamma_interval
        covered += low <= 0.6 <= high
        widths.append(high - low)
    assert covered >= 11
    assert np.median(widths) < 0.5


def test_the_record_says_which_runs_it_rests_on_and_what_theory_makes_of_them(stats):
    generator = np.random.default_rng(2)
    runs = [run(1, drawn(generator, 0.5)), run(2, None), run(3, drawn(generator, 0.5))]
    corrected = stats.model_copy(update={"corr_corrected_fit": PowerLaw(exponent=0.7, amplitude=1.0, r2=1.0, points=8)})
    decay = context_loss_decay(runs, corrected)
    assert (decay.run_ids, decay.fingerprints) == (("d1_i9_s1", "d1_i9_s3"), ("f1", "f3"))
    assert (decay.rows, decay.reason) == (2 * ROWS, "")
    assert decay.alpha == pytest.approx(decay.gamma / (2 * 0.7))
    # Each length's own error is behind the interval.
    quiet = context_loss_decay(
        [each.model_copy(update={"context_losses": without_error(each.context_losses)}) for each in runs], corrected
    )
    assert quiet.gamma == decay.gamma
    assert decay.gamma_interval[0] < quiet.gamma_interval[0] == pytest.approx(quiet.gamma, abs=1e-3)
    assert ContextLossDecay.from_json(decay.to_json()) == decay
    assert context_loss_decay(runs, corrected).content_hash() == decay.content_hash()
    uncorrected = stats.model_copy(update={"corr_corrected_fit": None})
    assert context_loss_decay(runs, uncorrected).beta == stats.corr_decay_exponent


def test_seeds_that_draw_from_few_rows_do_not_shrink_the_error_below_that_of_all_rows():
    generator = np.random.default_rng(3)
    few = [drawn(generator, 0.5, available=ROWS) for _ in range(4)]
    curve, rows = average_curve(few)
    assert rows == ROWS
    assert curve[0].error == pytest.approx(np.mean([losses.curve[0].error for losses in few]), rel=0.05)
    many, rows = average_curve([losses.model_copy(update={"rows_available": AVAILABLE}) for losses in few])
    assert rows == 4 * ROWS
    assert many[0].error == pytest.approx(curve[0].error / 2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"backend": "nanochat"}, "nanochat's own script"),
        ({"status": "failed_nan"}, "no baseline finished"),
        (
            {},
            "no validation document is longer than the context of 128 tokens, or the baselines were trained before the "
            "loss by context was measured",
        ),
    ],
)
def test_without_a_measurement_the_record_says_why(stats, changes, reason):
    decay = context_loss_decay([run(1, None, **changes)], stats)
    assert (decay.gamma, decay.alpha, decay.curve, decay.rows) == (None, None, (), 0)
    assert reason in decay.reason


@pytest.mark.parametrize("sign", [0, 1])
def test_a_loss_that_does_not_fall_with_context_gives_no_alpha(stats, sign):
    curve = tuple(ContextLoss(first, last, 5.0 + sign * math.log(last), 0.1) for first, last in context_bins(64))
    decay = context_loss_decay([run(1, ContextLosses(rows=9, rows_available=9, curve=curve))], stats)
    assert decay.alpha is None
    assert "does not fall" in decay.reason


@pytest.mark.parametrize(
    ("contexts", "losses", "message"),
    [
        ([0.5, 1, 2], [3, 2, 1], "below 1"),
        ([1, 2, 3], [3, -2, 1], "negative"),
        ([1, 2, 2], [3, 2, 1], "at least 3 distinct"),
        ([1, 2, 3], [3, math.nan, 1], "NaN"),
        ([1, 2, 3], [3, 2], "one length"),
    ],
)
def test_what_is_no_loss_by_context_is_refused(contexts, losses, message):
    with pytest.raises(ValueError, match=message):
        fit_context_losses(contexts, losses)
