"""A loss surface: what every run of a simulated lane would give, in a handful of numbers.

A file states it as TOML, any number left out being the default:

    asymptote = 0.7           # L_inf [bpb]
    amplitude = 0.3           # A [bpb]: what a finished run is above L_inf at one token per scaling parameter
    exponent = 0.3            # alpha: L(ratio) = L_inf + A * ratio ** -alpha, of the mean seed's finished run
    seed_sd = 0.00134         # of a seed's effect, the same at every horizon [bpb]
    noise_sd = 0.00032        # of what a run has of its own [bpb]
    warmdown_gain = 0.1       # what the warmdown gives: how far a run lies above L before it begins [bpb]
    warmdown_power = 2.0      # that distance falls as (share of the warmdown left) ** this
    seconds_per_step = 0.1    # simulated time of an update [s]
    speed_sd = 0.0            # of the logarithm of a run's speed: a machine that others use too
    draw = 0                  # other seed effects and noise, of the same truth
    nan_seeds = []            # seeds whose runs lose their numbers halfway
    pace = 0.0                # real seconds that a simulated one takes; 0: the whole run at once
"""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from statistics import NormalDist

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from laneb.brought import read_toml

START_BPB = 3.2
"""Loss of a model that has learned nothing: the curve L begins above every loss and is cut here."""


class Surface(BaseModel):
    """The truth of a simulated lane; see the module for each number's meaning and unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    asymptote: float = Field(default=0.7, ge=0)
    amplitude: float = Field(default=0.3, gt=0)
    exponent: float = Field(default=0.3, gt=0)
    seed_sd: float = Field(default=0.00134, ge=0)
    noise_sd: float = Field(default=0.00032, ge=0)
    warmdown_gain: float = Field(default=0.1, ge=0)
    warmdown_power: float = Field(default=2.0, gt=0)
    seconds_per_step: float = Field(default=0.1, gt=0)
    speed_sd: float = Field(default=0.0, ge=0)
    draw: int = Field(default=0, ge=0)
    nan_seeds: tuple[int, ...] = ()
    pace: float = Field(default=0.0, ge=0)

    def loss(self, ratio: float) -> float:
        """L(ratio): loss of the mean seed's run finished at a ratio [bpb].

        >>> Surface(asymptote=0.5, amplitude=0.2, exponent=0.5).loss(4.0)
        0.6
        """
        return self.asymptote + self.amplitude * float(ratio**-self.exponent)

    def ratio(self, loss: float) -> float | None:
        """The ratio at which a finished run has a loss; None where none has.

        >>> Surface(asymptote=0.5, amplitude=0.25, exponent=0.5).ratio(0.625)
        4.0
        """
        if loss <= self.asymptote:
            return None
        return float((self.amplitude / (loss - self.asymptote)) ** (1 / self.exponent))

    def excess(self, step: float, steps: int, warmdown_ratio: float) -> float:
        """How far a run lies above L at a step [bpb]: by all of the gain before the warmdown, by 0 at its end."""
        left = (steps - step) / (warmdown_ratio * steps) if warmdown_ratio > 0 else float(step < steps)
        return self.warmdown_gain * float(min(1.0, left) ** self.warmdown_power)

    def seed_effect(self, seed: int) -> float:
        """What a seed adds to the loss at every horizon [bpb]."""
        return self.seed_sd * _normal(f"{self.draw}/seed/{seed}")

    def noise(self, seed: int, tokens: int) -> float:
        """What a run adds to the loss beside its seed's effect [bpb]."""
        return self.noise_sd * _normal(f"{self.draw}/run/{seed}/{tokens}")

    def step_seconds(self, seed: int, tokens: int) -> float:
        """Time of an update of a run [s]."""
        return self.seconds_per_step * math.exp(self.speed_sd * _normal(f"{self.draw}/speed/{seed}/{tokens}"))


def _normal(key: str) -> float:
    """A standard normal number that only a text decides, on every machine and with every version of Python."""
    return NormalDist().inv_cdf(min(max(Random(key).random(), 1e-12), 1 - 1e-12))


def surface_toml(surface: Surface) -> str:
    """A surface as `read_surface` reads it; values left at their default stand there too.

    >>> print(surface_toml(Surface(asymptote=0.5)).splitlines()[1])
    asymptote = 0.5
    """
    values = surface.model_dump(mode="json")
    numbers = (f"{name} = {value!r}" for name, value in values.items())
    return "\n".join(["# A loss surface; laneb/training/surface.py says what each number means.", *numbers, ""])


def read_surface(path: str) -> Surface:
    """The surface in a TOML file; the default one for an empty path.

    Raises:
        ValueError: the file can't be read, is not TOML, or has a number that a surface can't have.
    """
    if not path:
        return Surface()
    try:
        tables = read_toml(Path(path).expanduser())
    except ValueError as error:
        raise ValueError(
            f"LANE_B_SIMULATED_SURFACE={path}: {error}. It is a TOML file with numbers such as exponent = 0.3; unset "
            "it for the default surface"
        ) from error
    try:
        return Surface.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        known = ", ".join(Surface.model_fields)
        raise ValueError(f"LANE_B_SIMULATED_SURFACE={path}: {field}: {first['msg']}. A surface has: {known}") from error
