"""Whole records of statistics as they were, and what is refused, sentence by sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from kept_answers import assert_same
from known_samples import KNOWN, SAMPLES, measured

from laneb.knobs import StatisticsKnobs
from laneb.records.runs import ContextLoss
from laneb.records.statistics import DatasetStats
from laneb.statistics import (
    conditional_entropies,
    correlation_norms,
    fit_power_law,
    fit_shifted_power_law,
    measure_dataset,
    sample_documents,
)
from laneb.statistics.context_loss import context_of, fit_context_losses
from laneb.statistics.intervals import exponent_interval
from laneb.statistics.power_law import PowerLawFit

RECORDS: dict[str, dict[str, Any]] = json.loads(KNOWN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_samples_whole_record_is_what_it_was(name: str) -> None:
    assert_same(measured(name), RECORDS[name], name, rel=1e-5, abs=1e-9)


def test_a_power_law_and_its_r2_by_a_general_optimizer() -> None:
    from scipy.optimize import curve_fit

    x, y = np.arange(1, 9.0), np.array([5.0, 3.4, 2.9, 2.2, 2.1, 1.9, 1.6, 1.7])
    (amplitude, exponent), _ = curve_fit(lambda x, a, p: a * x**-p, x, y, p0=(5, 0.5), ftol=1e-14)
    left = y - amplitude * x**-exponent
    fit = fit_power_law(x, y)
    assert isinstance(fit, PowerLawFit)
    assert (fit.amplitude, fit.exponent) == (pytest.approx(amplitude, rel=1e-6), pytest.approx(exponent, rel=1e-6))
    assert fit.r2 == pytest.approx(1 - left @ left / ((y - y.mean()) ** 2).sum())
    y = y + 1
    (amplitude, exponent, offset), _ = curve_fit(lambda x, a, p, h: a * x**-p + h, x, y, p0=(5, 0.5, 0.5), ftol=1e-14)
    left = y - amplitude * x**-exponent - offset
    shifted = fit_shifted_power_law(x, y, trials=0)
    assert (shifted.exponent, shifted.offset) == (pytest.approx(exponent, rel=1e-4), pytest.approx(offset, rel=1e-4))
    assert shifted.r2 == pytest.approx(1 - left @ left / ((y - y.mean()) ** 2).sum())
    flat = fit_power_law(x, np.full(8, 2.0))
    assert (flat.exponent, flat.r2) == (pytest.approx(0.0, abs=1e-9), 0.0)


def test_a_loss_by_context_weighs_its_lengths_by_how_many_there_are_and_the_root_of_where_they_lie() -> None:
    from scipy.optimize import curve_fit

    x, y = np.array([1.0, 2, 3, 5, 9, 16, 30]), np.array([9.0, 7.6, 7.5, 6.4, 6.1, 5.9, 5.2])
    widths = np.array([1.0, 1, 1, 3, 5, 9, 20])
    (amplitude, gamma, floor), _ = curve_fit(
        lambda x, a, p, h: a * x**-p + h, x, y, p0=(5, 0.5, 4), sigma=(widths / np.sqrt(x)) ** -0.5, ftol=1e-14
    )
    fit = fit_context_losses(x, y, widths)
    assert (fit.gamma, fit.amplitude) == (pytest.approx(gamma, rel=1e-4), pytest.approx(amplitude, rel=1e-4))
    assert (fit.h_inf_bits, fit.gamma_interval) == (pytest.approx(floor, rel=1e-4), None)
    assert abs(fit.gamma - fit_context_losses(x, y).gamma) > 0.01
    narrow, wide = (fit_context_losses(x, y, widths, errors=np.full(7, error)).gamma_interval for error in (0.01, 0.1))
    assert wide[0] < narrow[0] < fit.gamma < narrow[1] < wide[1]


def test_a_bin_of_lengths_lies_at_their_geometric_mean() -> None:
    assert context_of(ContextLoss(4, 7, 1.0, 0.0)) == pytest.approx((4 * 5 * 6 * 7) ** 0.25)
    assert context_of(ContextLoss(9, 9, 1.0, 0.0)) == pytest.approx(9)


@pytest.mark.parametrize("exponent", [-0.02, -0.5, -1.5, 0.02, 3.0])
def test_curves_that_rise_are_found_as_those_that_fall(exponent: float) -> None:
    x = np.array([1.0, 2, 3, 5, 8, 13])
    assert fit_power_law(x, 2 * x**-exponent).exponent == pytest.approx(exponent, abs=1e-5)
    assert fit_shifted_power_law(x, 2 * x**-exponent + 0.3, trials=0).exponent == pytest.approx(exponent, abs=0.02)


def test_three_lengths_are_enough_for_an_interval_and_two_are_not() -> None:
    influence = np.random.default_rng(0).normal(0, 0.01, (20, 3))
    x = np.array([1.0, 2, 4])
    low, high = exponent_interval(x, 2 * x**-0.5, influence, seed=1)
    assert low < 0.5 < high
    assert exponent_interval(x[:2], 2 * x[:2] ** -0.5, influence[:, :2], seed=1) is None


def test_a_sample_one_token_longer_than_the_context_is_measured_and_no_shorter_one() -> None:
    knobs = StatisticsKnobs(corr_min_sep=1, ent_min_ctx=4, ent_max_ctx=4, corr_max_sep=2, fit_optuna_trials=1)

    def measured_of(size: int) -> DatasetStats:
        return measure_dataset(
            np.arange(size) % 2, [0], knobs=knobs, dataset_id="d", tokenizer_id="t", split="train", vocab_size=2
        )

    assert measured_of(5).num_tokens_sampled == 5
    with pytest.raises(ValueError, match="has 4 tokens; the statistics need 5"):
        measured_of(4)


GOOD = [1, 2, 3, 1, 2, 3]
REFUSALS = [
    (lambda: fit_power_law([1, 2], [1, 2, 3]), "x and y: two sequences of one length are needed, got (2,) and (3,)."),
    (lambda: fit_power_law([1, 2], [1, np.nan]), "x and y: NaN or infinity among the points. Leave those out."),
    (lambda: fit_power_law([0, 2], [1, 2]), "x: 0.0 is not positive, where a power law has no value."),
    (lambda: fit_power_law([1, 1], [1, 2]), "x: at least 2 distinct values are needed to fit 2 parameters, got 1."),
    (
        lambda: fit_power_law(["a"], [1]),
        "x and y: two sequences of numbers are needed (could not convert string to float: 'a').",
    ),
    (
        lambda: fit_shifted_power_law([1, 2], [1, 2]),
        "x: at least 3 distinct values are needed to fit 3 parameters, got 2.",
    ),
    (
        lambda: fit_shifted_power_law([1, 2, 3], [2, 1, -1]),
        "y: -1.0 is negative, which leaves no offset between 0 and the smallest value.",
    ),
    (
        lambda: fit_shifted_power_law([1, 2, 3], [3, 2, 1], trials=-1),
        "trials: -1 is no integer of at least 0. Use trials=0 to leave the search out.",
    ),
    (
        lambda: correlation_norms([[1]], [1]),
        "tokens: one dimension is needed, this array has 2. Concatenate the documents.",
    ),
    (
        lambda: correlation_norms([0.5, 1.0], [1]),
        "tokens: integers are needed, these are float64: no fractions, no NaN.",
    ),
    (lambda: correlation_norms([1], [1]), "tokens: at least 2 are needed, got 1."),
    (
        lambda: correlation_norms([-1, 1], [1]),
        "tokens: -1 is negative; token ids start at 0. Mask or drop padding first.",
    ),
    (lambda: correlation_norms(GOOD, [0]), "lags: 0 is outside 1 to 5, what 6 tokens allow."),
    (lambda: correlation_norms(GOOD, [6]), "lags: 6 is outside 1 to 5, what 6 tokens allow."),
    (lambda: correlation_norms(GOOD, [0.5]), "lags: a sequence of integers is needed, got float64 of shape (1,)."),
    (lambda: conditional_entropies(GOOD, [6]), "context_lengths: 6 is outside 0 to 5, what 6 tokens allow."),
    (
        lambda: sample_documents(np.array(GOOD), [], max_docs=1, max_tokens=1),
        "document_starts: a sequence of integers is needed, one for each document.",
    ),
    (
        lambda: sample_documents(np.array(GOOD), [0, 9], max_docs=1, max_tokens=1),
        "document_starts: the first document begins at 0, each later one after the one before it, the last below 6 "
        "(the number of tokens); got 0 to 9.",
    ),
    (
        lambda: sample_documents(np.array(GOOD), [0], max_docs=0, max_tokens=1),
        "max_docs: 0 samples nothing. Use a positive number, or -1 for all.",
    ),
    (
        lambda: sample_documents(np.array(GOOD), [0], max_docs=1, max_tokens=0),
        "max_tokens: 0 samples nothing. Use a positive number, or -1 for all.",
    ),
    (
        lambda: fit_context_losses([0.5, 2, 3], [3.0, 2, 1]),
        "contexts: 0.5 is below 1. Leave out predictions made without context.",
    ),
    (lambda: fit_context_losses([1, 2, 3], [3.0, 2, -1]), "losses_bits: -1.0 is negative, which no loss is."),
]


@pytest.mark.parametrize(("call", "said"), REFUSALS, ids=[said[:30] for _, said in REFUSALS])
def test_what_can_not_be_measured_is_said_whole(call, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        call()
    assert str(refused.value) == said
