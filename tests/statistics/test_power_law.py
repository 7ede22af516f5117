"""Power-law fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneb.statistics import fit_power_law, fit_shifted_power_law

X = np.arange(1.0, 65.0)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(-3.0, 3.0))
def test_an_exact_power_law_is_recovered(amplitude, exponent):
    fit = fit_power_law(X, amplitude * X**-exponent)
    assert fit.exponent == pytest.approx(exponent, abs=1e-6)
    assert fit.amplitude == pytest.approx(amplitude, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 10.0), st.floats(0.05, 3.0), st.floats(0.0, 10.0))
def test_an_exact_shifted_power_law_is_recovered(amplitude, exponent, offset):
    fit = fit_shifted_power_law(X, amplitude * X**-exponent + offset, trials=0)
    assert fit.exponent == pytest.approx(exponent, abs=1e-6)
    assert fit.amplitude == pytest.approx(amplitude, abs=1e-6)
    assert fit.offset == pytest.approx(offset, abs=1e-6)
    assert fit.r2 == pytest.approx(1.0)
