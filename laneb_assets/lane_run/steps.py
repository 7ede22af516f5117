"""The steps of a lane, and how one went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from laneb_assets.lane import Lane
from laneb_assets.names import EXPERIMENT


@dataclass(frozen=True)
class Step:
    """One asset, or one partition of it."""

    asset: str
    partition: str | None = None

    @property
    def label(self) -> str:
        """`asset` or `asset [partition]`."""
        return f"{self.asset} [{self.partition}]" if self.partition else self.asset


@dataclass(frozen=True)
class Outcome:
    """How a step went: `up to date`, `done` or `failed`."""

    step: Step
    state: str
    seconds: float = 0.0
    numbers: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    bad_input: bool = False
    """It failed for what the person gave: a corpus or a setting that can't be used."""
    failed_checks: tuple[str, ...] = ()
    damage: str = ""
    """What was missing or damaged of what it had made before, in words."""


def levels_of(lane: Lane) -> list[list[Step]]:
    """Every asset and partition, in levels: each is made from those of earlier levels alone."""
    levels = [[Step(name, partition) for name in level for partition in lane.partitions(name)] for level in lane.levels]
    return [[Step(EXPERIMENT)], *levels]


def steps_of(lane: Lane) -> list[Step]:
    """Every asset and partition, each after those that it is made from."""
    return [step for level in levels_of(lane) for step in level]
