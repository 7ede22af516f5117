"""The threshold, the candidates that try to reach it sooner, and the verdict on them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneb.decision.candidates import Candidate, plan_candidates
    from laneb.decision.summary import summarize
    from laneb.decision.threshold import ThresholdError, threshold_from
    from laneb.decision.verdict import judge

__all__ = ["Candidate", "ThresholdError", "judge", "plan_candidates", "summarize", "threshold_from"]

_HOMES = {
    "threshold_from": "threshold",
    "ThresholdError": "threshold",
    "plan_candidates": "candidates",
    "Candidate": "candidates",
    "summarize": "summary",
    "judge": "verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
