"""How a trained model's loss falls with its context: the exponent gamma, as the paper measures it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from laneb.records.statistics import ContextLossDecay
from laneb.statistics.power_law import Problem, checked_points, largest_offset


def loss_by_position_exponent(positions: ArrayLike, losses_bits: ArrayLike, run_id: str = "") -> ContextLossDecay:
    """Fit loss = a n^-gamma + h_inf to a finished model's loss by position in its context.

    Positions are spaced evenly, so that most lie near the end of the context. Each counts with weight 1/n: every
    octave of context then weighs the same, and the fit sees the decay as well as its end.

    Args:
        positions: [K] tokens of context n >= 1 that the prediction had, at least three of them distinct. Rows that
            begin at BOS make the position the length of the context.
        losses_bits: [K] mean loss of the predictions made there, in bits per token, not negative.
        run_id: the run that was evaluated, recorded.

    Returns:
        gamma > 0 for a loss that falls with context; its R^2 with the same weights.

    Raises:
        ValueError: NaN, positions below 1 or fewer than three distinct, negative losses, arrays of different length.

    Source: Cagnetta et al. 2026, arXiv:2602.07488.
    """
    abscissae, losses = checked_points(positions, losses_bits, 3)
    if abscissae.min() < 1:
        raise ValueError(f"positions: {abscissae.min()} is below 1. Leave out predictions made without context.")
    fit = Problem(abscissae, losses, largest_offset(losses), 1.0 / abscissae).fit()
    return ContextLossDecay(
        gamma=fit.exponent,
        amplitude=fit.amplitude,
        h_inf_bits=fit.offset,
        r2=fit.r2,
        positions=int(np.unique(abscissae).size),
        largest_position=int(abscissae.max()),
        run_id=run_id,
    )
