"""Whether the warmdown pays: the lane's premise, seen in runs of one seed at two horizons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from laneb.inference.calibration import kind_of, unfinished_reason
from laneb.records.runs import RunResult

MIN_WARMDOWN_GAIN = 0.0025
"""Loss that the warmdown must win, as a share of the loss: eight times what a paired difference scatters by."""


@dataclass(frozen=True)
class WarmdownPair:
    """A finished run and the next longer one of its seed."""

    seed: int
    tokens: int
    final: float
    longer_loss: float

    @property
    def gain(self) -> float:
        """Loss that the shorter run is ahead by at its end."""
        return self.longer_loss - self.final


@dataclass(frozen=True)
class Warmdown:
    """What the warmdown wins at one horizon."""

    tokens: int
    pairs: tuple[WarmdownPair, ...]

    @property
    def gain(self) -> float:
        """Median over seeds [bpb]."""
        return median(pair.gain for pair in self.pairs)

    @property
    def needed(self) -> float:
        """Gain that counts as one [bpb]."""
        return MIN_WARMDOWN_GAIN * median(pair.final for pair in self.pairs)


def measure_warmdown(runs: Sequence[RunResult], tokens: float | None) -> Warmdown | None:
    """What the warmdown wins at the horizon nearest to `tokens` (None: at the shortest); None without a pair."""
    pairs = warmdown_pairs(runs)
    if not pairs:
        return None
    horizons = sorted({pair.tokens for pair in pairs})
    aim = horizons[0] if tokens is None else tokens
    nearest = min(horizons, key=lambda count: abs(np.log(count / aim)))
    return Warmdown(nearest, tuple(pair for pair in pairs if pair.tokens == nearest))


def warmdown_pairs(runs: Sequence[RunResult]) -> list[WarmdownPair]:
    """Each finished run against the next longer one of its seed, shape, schedule and recipe, at its last step.

    The longer run's loss is interpolated in its own validation curve.
    """
    by_fingerprint = {run.fingerprint: run for run in runs if not unfinished_reason(run)}
    finished = sorted(by_fingerprint.values(), key=lambda run: (run.steps, run.run_id))
    pairs = []
    for run in finished:
        longer = [
            other
            for other in finished
            if (other.seed, kind_of(other)) == (run.seed, kind_of(run)) and other.steps > run.steps
        ]
        if not longer or run.final_val_bpb is None:
            continue
        curve = longer[0].val_curve
        steps, losses = [point.step for point in curve], [point.bpb for point in curve]
        if steps[0] <= run.steps:
            at = float(np.interp(run.steps, steps, losses))
            pairs.append(WarmdownPair(run.seed, run.tokens, run.final_val_bpb, at))
    return pairs
