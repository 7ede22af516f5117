"""What a corpus tells about how fast a model can learn from it: decay of correlation and of conditional entropy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneb.statistics.context_loss import ContextFit, context_loss_decay, fit_context_losses
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
    "ContextFit",
    "LagCovariance",
    "PowerLawFit",
    "ShiftedPowerLawFit",
    "conditional_entropies",
    "context_loss_decay",
    "correlation_norms",
    "fit_context_losses",
    "fit_power_law",
    "fit_shifted_power_law",
    "measure_dataset",
    "operator_norms",
    "sample_documents",
    "within_document_covariance",
]

_HOMES = {
    "ConditionalEntropies": "entropy",
    "ContextFit": "context_loss",
    "LagCovariance": "correlation",
    "PowerLawFit": "power_law",
    "ShiftedPowerLawFit": "power_law",
    "conditional_entropies": "entropy",
    "context_loss_decay": "context_loss",
    "correlation_norms": "correlation",
    "fit_context_losses": "context_loss",
    "fit_power_law": "power_law",
    "fit_shifted_power_law": "power_law",
    "measure_dataset": "measure",
    "operator_norms": "correlation",
    "sample_documents": "sample",
    "within_document_covariance": "correlation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
