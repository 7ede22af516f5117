"""What a corpus tells about how fast a model can learn from it: decay of correlation and of conditional entropy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneb.statistics.context_loss import loss_by_position_exponent
    from laneb.statistics.correlation import (
        LagCovariance,
        correlation_norms,
        operator_norms,
        within_document_covariance,
    )
    from laneb.statistics.entropy import ConditionalEntropies, conditional_entropies
    from laneb.statistics.measure import measure_dataset
    from laneb.statistics.power_law import PowerLawFit, ShiftedPowerLawFit, fit_power_law, fit_shifted_power_law
    from laneb.statistics.sample import sample_documents

__all__ = [
    "ConditionalEntropies",
    "LagCovariance",
    "PowerLawFit",
    "ShiftedPowerLawFit",
    "conditional_entropies",
    "correlation_norms",
    "fit_power_law",
    "fit_shifted_power_law",
    "loss_by_position_exponent",
    "measure_dataset",
    "operator_norms",
    "sample_documents",
    "within_document_covariance",
]

_HOMES = {
    "ConditionalEntropies": "entropy",
    "LagCovariance": "correlation",
    "PowerLawFit": "power_law",
    "ShiftedPowerLawFit": "power_law",
    "conditional_entropies": "entropy",
    "correlation_norms": "correlation",
    "fit_power_law": "power_law",
    "fit_shifted_power_law": "power_law",
    "loss_by_position_exponent": "context_loss",
    "measure_dataset": "measure",
    "operator_norms": "correlation",
    "sample_documents": "sample",
    "within_document_covariance": "correlation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
