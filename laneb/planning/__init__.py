"""Before and after a lane: what a design can find out, at what cost, and what to run next."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneb.planning.design import Design
    from laneb.planning.forecast import design_problems, plan_of
    from laneb.planning.from_runs import runs_of, surface_like
    from laneb.planning.lanes import Outcomes, simulate_lanes

__all__ = ["Design", "Outcomes", "design_problems", "plan_of", "runs_of", "simulate_lanes", "surface_like"]

_HOMES = {
    "simulate_lanes": "lanes",
    "Outcomes": "lanes",
    "Design": "design",
    "plan_of": "forecast",
    "design_problems": "forecast",
    "surface_like": "from_runs",
    "runs_of": "from_runs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
