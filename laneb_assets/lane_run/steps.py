"""The steps of a lane, and how one went."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from laneb.settings import SettingsError
from laneb_assets.lane import Lane
from laneb_assets.names import EXPERIMENT, PLAN, TRAINED


@dataclass(frozen=True)
class Step:
    """One asset, or one partition of it."""

    asset: str
    partition: str | None = None
    repeat: bool = False
    """It is made again on purpose, and a finished run trained again, though all is up to date."""
    ahead: bool = False
    """It is made before what it depends on, where it is missing or of other settings; and once more in its turn."""

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


def forced_in(lane: Lane, wishes: Collection[str]) -> set[tuple[str, str | None]]:
    """The assets and partitions that are to be made again on purpose.

    Args:
        lane: the experiment.
        wishes: each an `ASSET`, or `ASSET:PARTITION`; empty for every run that is trained.

    Raises:
        SettingsError: there is no such asset or partition.
    """
    found, unknown = set(), []
    known = {name: lane.partitions(name) for level in lane.levels for name in level}
    for wish in wishes:
        name, colon, partition = wish.partition(":")
        names = [name] if wish else [trained for trained in TRAINED if trained in known]
        if wish and name not in known:
            unknown.append(f"--force {wish}: there is no asset {name!r}, but {', '.join(sorted(known))}.")
        elif colon and partition not in known[name]:
            keys = [key for key in known[name] if key is not None]
            have = f"has the partitions {', '.join(keys)}" if keys else "has no partitions"
            unknown.append(f"--force {wish}: {name} {have}.")
        else:
            found |= {(each, key) for each in names for key in known[each] if not colon or key == partition}
    if unknown:
        raise SettingsError(unknown)
    return found


def levels_of(lane: Lane) -> list[list[Step]]:
    """Every asset and partition, in levels: each is made from those of earlier levels alone."""
    levels = [[Step(name, partition) for name in level for partition in lane.partitions(name)] for level in lane.levels]
    return [[Step(EXPERIMENT)], *levels]


def walk_of(lane: Lane) -> list[list[Step]]:
    """The levels as they are gone through: with the plan ahead, so that it is said what a lane can find out before it
    trains."""
    experiment, *levels = levels_of(lane)
    return [experiment, [Step(PLAN, ahead=True)], *levels]


def steps_of(lane: Lane) -> list[Step]:
    """Every asset and partition, each after those that it is made from."""
    return [step for level in levels_of(lane) for step in level]
