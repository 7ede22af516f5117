"""From a loss curve and a threshold to training tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from laneb.inference.checks import checked_number

if TYPE_CHECKING:
    from laneb.inference.loss_curve import LossCurve

SolveStatus = Literal[
    "ok",
    "invalid_alpha",
    "non_positive_A",
    "threshold_not_above_asymptote",
    "non_finite_target_tokens",
    "extrapolation_beyond_limit",
    "noise_exceeds_spread",
]
"""The last two come from `infer_ratio` alone: there is a solution, but the finished runs do not carry it."""


@dataclass(frozen=True)
class Horizon:
    """Training tokens at which a threshold is reached; None unless `status` is "ok"."""

    tokens: float | None
    status: SolveStatus


def solve_horizon(curve: LossCurve, threshold: float) -> Horizon:
    """Training tokens at which a loss curve falls to a threshold.

    D = (A / (threshold - L_inf)) ** (1 / alpha), the inverse of L(D) = L_inf + A * D ** -alpha.

    Args:
        curve: amplitude A [bpb * tokens**alpha], asymptote L_inf [bpb], alpha.
        threshold: loss to reach [bpb].

    Returns:
        Horizon with `tokens` and status "ok"; tokens is None where there is no solution, and status says why:
        "invalid_alpha" (alpha <= 0), "non_positive_A", "threshold_not_above_asymptote" or
        "non_finite_target_tokens" (more tokens than a float holds).

    Raises:
        ValueError: the threshold is no finite number, or the curve none.

    Source: Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, at fixed model size.

    Example:
        >>> from laneb.inference import LossCurve
        >>> horizon = solve_horizon(LossCurve(amplitude=1e4, asymptote=0.5, alpha=0.5), threshold=0.75)
        >>> horizon.status, round(horizon.tokens)
        ('ok', 1600000000)
    """
    threshold = checked_number("threshold", threshold, unit="bpb")
    if not all(isinstance(getattr(curve, name, None), float | int) for name in ("amplitude", "asymptote", "alpha")):
        raise ValueError(f"curve {curve!r} is no loss curve; it has amplitude, asymptote and alpha")
    if not curve.alpha > 0:
        return Horizon(None, "invalid_alpha")
    if not curve.amplitude > 0:
        return Horizon(None, "non_positive_A")
    if not threshold > curve.asymptote:
        return Horizon(None, "threshold_not_above_asymptote")
    try:
        tokens = math.exp((math.log(curve.amplitude) - math.log(threshold - curve.asymptote)) / curve.alpha)
    except OverflowError:
        return Horizon(None, "non_finite_target_tokens")
    if not math.isfinite(tokens) or tokens <= 0:
        return Horizon(None, "non_finite_target_tokens")
    return Horizon(tokens, "ok")
