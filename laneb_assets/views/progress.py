"""Progress of what runs in the asset's own process, such as tokenizing: to Dagster's log, and to whoever listens."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

Listener = Callable[[int, int, str], None]
"""Called with what is done, how much there is, and what is being worked on."""

listeners: list[Listener] = []
"""`laneb run` runs assets in its own process, and draws a bar from these."""

_LOG_EVERY = 0.1


def progress_of(context: "dg.AssetExecutionContext") -> Listener:
    """A callback for the library: logs every tenth of the way, and tells the listeners every step."""
    logged = 0.0

    def report(done: int, total: int, note: str) -> None:
        nonlocal logged
        for listener in listeners:
            listener(done, total, note)
        share = done / total if total else 1.0
        if share >= logged + _LOG_EVERY:
            logged = share
            context.log.info(f"{share:.0%} of {total / 1e6:.0f} MB: {note}")

    return report
