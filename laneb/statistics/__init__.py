"""What a corpus tells about how fast a model can learn from it: decay of correlation and of conditional entropy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneb.statistics.correlation import correlation_norms
    from laneb.statistics.entropy import ConditionalEntropies, conditional_entropies
    from laneb.statistics.measure import measure_dataset
    from laneb.statistics.power_law import PowerLawFit, ShiftedPowerLawFit, fit_power_law, fit_shifted_power_law
    from laneb.statistics.sample import sample_documents

__all__ = [
    "ConditionalEntropies",
    "PowerLawFit",
    "ShiftedPowerLawFit",
    "conditional_entropies",
    "correlation_norms",
    "fit_power_law",
    "fit_shifted_power_law",
    "measure_dataset",
    "sample_documents",
]

_HOMES = {
    "ConditionalEntropies": "entropy",
    "PowerLawFit": "power_law",
    "ShiftedPowerLawFit": "power_law",
    "conditional_entropies": "entropy",
    "correlation_norms": "correlation",
    "fit_power_law": "power_law",
    "fit_shifted_power_law": "power_law",
    "measure_dataset": "measure",
    "sample_documents": "sample",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
