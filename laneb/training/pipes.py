"""Sentences to Dagster from a process that it started to train."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from laneb.training.interruption import StopRequest


@contextlib.contextmanager
def said_to_dagster(stop: StopRequest) -> Iterator[Callable[[str], None]]:
    """How to say a sentence to Dagster, where Dagster started this process; else one that nobody hears."""
    import dagster_pipes

    from_environment: Callable[[], dagster_pipes.PipesParamsLoader] = dagster_pipes.PipesEnvVarParamsLoader
    if not from_environment().is_dagster_pipes_process():
        yield say_nothing
        return
    stop.watch(os.getppid())
    with dagster_pipes.open_dagster_pipes() as pipes:
        yield pipes.log.info


def say_nothing(sentence: str) -> None:
    """Where nobody listens."""
