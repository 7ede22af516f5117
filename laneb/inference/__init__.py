"""From statistics and finished runs to a training ratio, with its interval, gates and sensitivity."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "fit_loss_curve": "loss_curve",
    "LossCurve": "loss_curve",
    "LossCurveError": "loss_curve",
    "solve_horizon": "horizon",
    "Horizon": "horizon",
    "infer_ratio": "ratio",
    "RatioEstimate": "ratio",
    "fit_parametric_law": "parametric",
    "ParametricLaw": "parametric",
    "calibration_from": "calibration",
    "CalibrationError": "calibration",
    "infer": "answer",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
