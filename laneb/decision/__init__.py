"""The threshold, the candidates that try to reach it sooner, and the verdict on them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "threshold_from": "threshold",
    "ThresholdError": "threshold",
    "plan_candidates": "candidates",
    "Candidate": "candidates",
    "summarize": "verdict",
    "judge": "verdict",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
