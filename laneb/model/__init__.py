"""A GPT of nanochat's family.

`scaling` counts its parameters without building it, and `recipes` says what a dated version of nanochat does; `build`,
`nanochat_state` and `load_nanochat_state` need torch, which is imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneb.model.building import build
    from laneb.model.names import load_nanochat_state, nanochat_state

__all__ = ["build", "load_nanochat_state", "nanochat_state"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from laneb.model import building, names

    return getattr(building if name == "build" else names, name)
