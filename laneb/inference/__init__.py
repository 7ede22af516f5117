"""From statistics and finished runs to a training ratio, with its interval, gates and sensitivity.

A room a question: what the points say (`points`, `levels`, `seeds`), the loss curve (`loss_curve`, `robust`), the
horizon (`horizon`, `loss_estimate`, `lane`), its interval (`interval`), all in `infer_ratio` (`ratio`); and what a lane
makes of it (`calibration`, `exponent`, `solution`, `gates`, `sensitivity`, `answer`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneb.inference.answer import infer
    from laneb.inference.calibration import CalibrationError, calibration_from
    from laneb.inference.horizon import Horizon, solve_horizon
    from laneb.inference.loss_curve import LossCurve, LossCurveError, fit_loss_curve
    from laneb.inference.parametric import ParametricLaw, fit_parametric_law
    from laneb.inference.ratio import RatioEstimate, infer_ratio

__all__ = [
    "CalibrationError",
    "Horizon",
    "LossCurve",
    "LossCurveError",
    "ParametricLaw",
    "RatioEstimate",
    "calibration_from",
    "fit_loss_curve",
    "fit_parametric_law",
    "infer",
    "infer_ratio",
    "solve_horizon",
]

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
