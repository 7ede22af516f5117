"""What happens in the asset's own process, such as tokenizing or waiting: to Dagster's log, and to whoever listens."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

Listener = Callable[[int, int, str], None]
"""Called with what is done, how much there is, and what is being worked on."""

listeners: list[Listener] = []
"""`laneb run` runs assets in its own process, and draws a bar from these."""

_waits: list[Callable[[str], None]] = []

_LOG_EVERY = 0.1


def say_that_it_waits(sentence: str) -> None:
    """Log what the asset that runs in this process waits for, and tell who listens."""
    import dagster as dg

    dg.get_dagster_logger().warning(sentence)
    for listener in _waits:
        listener(sentence)


@contextlib.contextmanager
def waits_told(say: Callable[[str], None]) -> Iterator[None]:
    """Have `say` told what the assets that run within the block wait for."""
    _waits.append(say)
    try:
        yield
    finally:
        _waits.remove(say)


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
