"""Before and after a lane: what a design can find out, at what cost, and what to run next."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "simulate_lanes": "lanes",
    "Outcomes": "lanes",
    "Design": "design",
    "plan_of": "forecast",
    "design_problems": "forecast",
    "surface_like": "from_runs",
    "runs_of": "from_runs",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
