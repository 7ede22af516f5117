"""What reruns by itself when inputs change."""

from collections.abc import Mapping

import dagster as dg

from laneb.settings import Settings


def conditions_of(settings: Settings) -> Mapping[str, dg.AutomationCondition | None]:
    """The automation condition of each asset."""
    return {}


def sensors_of(settings: Settings) -> list[dg.SensorDefinition]:
    """The experiment's sensors."""
    return []
