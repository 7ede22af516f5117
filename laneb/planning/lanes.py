"""Whole lanes of known truth: baselines, threshold, calibration, inference, candidates and verdict, played out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from laneb.decision.verdict import judge
from laneb.inference import infer_ratio
from laneb.inference.ratio import RatioEstimate
from laneb.planning.design import CONFIRMATION_FACTOR, Design
from laneb.records.candidates import Mode
from laneb.records.runs import RunResult, ValidationPoint
from laneb.records.verdict import Look, Verdict
from laneb.training.schedule import evaluation_steps

UNTIMED_STEPS = 10


@dataclass(frozen=True)
class LaneAtLook:
    """One simulated lane at one look: what was inferred and what was decided."""

    verdict: Verdict | None
    """None where no ratio was inferred."""
    ratio: float | None
    interval: tuple[float, float] | None
    """None where no ratio was inferred, or the finals do not bound it."""
    true_ratio: float | None
    """Where the mean seed's finished run is the offset above its baseline."""
    train_sec: float
    """Training time of all its runs so far [s]."""


@dataclass(frozen=True)
class Outcomes:
    """What became of simulated lanes.

    Attributes:
        lanes: how many.
        decisions: share of lanes by decision at the last look; `FALLBACK` where no ratio was inferred.
        ever: share of lanes that were ACCEPT, or REJECT, at any look.
        modes: share of lanes in which a mode was accepted at the last look.
        ever_rejected: share of lanes in which a mode was rejected at any look.
        coverage: share of intervals of the ratio that hold the true one.
        half_width: median half width of the interval, as a share of the ratio; both None where no lane has one.
        train_sec: median training time of a lane [s].
        true_gain: of the confirmation at the true ratio, as a share of the baseline's time to target.
    """

    lanes: int
    decisions: dict[str, float]
    ever: dict[str, float]
    modes: dict[str, float]
    ever_rejected: dict[str, float]
    coverage: float | None
    half_width: float | None
    train_sec: float
    true_gain: float


def simulate_lanes(
    design: Design, *, lanes: int = 200, gain: float | None = None, looks: Sequence[int] = (), seed: int = 0
) -> Outcomes:
    """Play out lanes of a design whose truth is known, each with seeds and noise of its own.

    Every lane goes through the functions that a real one goes through: the threshold from its baselines, `infer_ratio`
    on its finals, candidates at the inferred and 1.05 times the ratio, `judge`.

    Args:
        design: the lane, and the truth.
        lanes: how many to play.
        gain: true gain of the confirmation (a share of the baseline's time); None: what the surface gives.
        looks: seeds of baselines and candidates at each look, growing; none: one look, with the design's.
        seed: of the draws.

    Raises:
        ValueError: no lanes, looks that do not grow, or a gain that no warmdown gives.

    >>> from laneb.training.surface import Surface
    >>> design = Design(Surface(), tokens_per_step=128, n_scaling_params=22560, baseline_steps=400,
    ...                 calibration_steps=(200, 300), eval_every=40, eval_every_late=5)
    >>> outcomes = simulate_lanes(design, lanes=20)
    >>> outcomes.decisions["ACCEPT"] > 0.8
    True
    """
    if lanes < 1:
        raise ValueError(f"{lanes} lanes: at least one")
    if list(looks) != sorted(set(looks)) or any(count < 1 for count in looks):
        raise ValueError(f"looks at {', '.join(map(str, looks))} seeds: they have to grow, from 1 on")
    if gain is not None:
        design = design.with_gain(gain)
    played = [list(play_lane(design, looks, np.random.default_rng([seed, number]))) for number in range(lanes)]
    last = [lane[-1] for lane in played]
    decisions = Counter(_decision(lane) for lane in last)
    ever = {each: sum(any(_decision(look) == each for look in lane) for lane in played) for each in VERDICTS}
    last_only = [[lane] for lane in last]
    intervals = [(lane.interval, lane.true_ratio) for lane in last if lane.interval and lane.true_ratio]
    covered = [interval[0] <= truth <= interval[1] for interval, truth in intervals]
    # An open interval is as wide as what it is an interval of.
    widths = [(high - low) / (high + low) if math.isfinite(high) else 1.0 for (low, high), _ in intervals]
    return Outcomes(
        lanes=lanes,
        decisions={name: decisions[name] / lanes for name in (*VERDICTS, "INCONCLUSIVE", "FALLBACK")},
        ever={name: count / lanes for name, count in ever.items()},
        modes={mode: _share_of(last_only, mode, "ACCEPT") for mode in TRIED},
        ever_rejected={mode: _share_of(played, mode, "REJECT") for mode in TRIED},
        coverage=sum(covered) / len(covered) if covered else None,
        half_width=median(widths) if widths else None,
        train_sec=median(lane.train_sec for lane in last),
        true_gain=design.true_gain(),
    )


VERDICTS = ("ACCEPT", "REJECT")
TRIED: tuple[Mode, ...] = ("confirmation", "inferred")


def _share_of(played: Sequence[Sequence[LaneAtLook]], mode: Mode, decision: str) -> float:
    """Share of lanes in which a mode has a decision at any of these looks."""
    judged = [[each for look in lane if look.verdict for each in look.verdict.modes] for lane in played]
    return sum(any((each.mode, each.decision) == (mode, decision) for each in lane) for lane in judged) / len(played)


def _decision(lane: LaneAtLook) -> str:
    return lane.verdict.decision if lane.verdict else "FALLBACK"


def play_lane(design: Design, looks: Sequence[int], draw: np.random.Generator) -> Iterator[LaneAtLook]:
    """One lane, at each look. Runs of earlier looks stay; what moves the threshold moves the candidates."""
    runs = Runs(design, draw, max(looks, default=0))
    taken: list[Look] = []
    for at_look in [design.with_seeds(count) for count in looks] or [design]:
        lane = _look(at_look, runs, taken)
        if lane.verdict:
            taken += [mode.look for mode in lane.verdict.modes if mode.look]
        yield lane


def _look(design: Design, runs: Runs, taken: Sequence[Look]) -> LaneAtLook:
    answer = runs.inferred(design)
    steps = design.true_steps()
    truth = None if steps is None else design.ratio(steps)
    if answer.ratio is None:
        return LaneAtLook(None, None, None, truth, runs.train_sec())
    ratios: dict[Mode, float] = {"inferred": answer.ratio, "confirmation": answer.ratio * CONFIRMATION_FACTOR}
    candidates: dict[Mode, list[RunResult]] = {
        mode: [runs.of(_steps(design, ratio), seed) for seed in range(design.run_seeds)]
        for mode, ratio in ratios.items()
    }
    verdict = judge(
        baselines=runs.baselines(design), candidates=candidates, threshold=runs.threshold(design), knobs=design.knobs,
        looks=taken,
    )  # fmt: skip
    bounded = answer.ratio_interval != (0.0, math.inf)
    return LaneAtLook(verdict, answer.ratio, answer.ratio_interval if bounded else None, truth, runs.train_sec())


def _steps(design: Design, ratio: float) -> int:
    return max(1, int(ratio * design.n_scaling_params) // design.tokens_per_step)


class Runs:
    """A lane's runs, each drawn once: equal horizon and seed are the same run."""

    def __init__(self, design: Design, draw: np.random.Generator, seeds: int = 0) -> None:
        self._design, self._draw = design, draw
        most = max(seeds, design.baseline_seeds, design.run_seeds, design.calibration_seeds)
        self._effects = draw.normal(0.0, design.surface.seed_sd, most)
        self._made: dict[tuple[int, int], RunResult] = {}

    def baselines(self, design: Design) -> list[RunResult]:
        """The baselines of the design at a look."""
        return [self.of(design.baseline_steps, seed) for seed in range(design.baseline_seeds)]

    def threshold(self, design: Design) -> float:
        """Their median and the offset [bpb]."""
        finals = [run.min_val_bpb or math.nan for run in self.baselines(design)]
        return round(median(finals) + design.threshold_offset, 6)

    def inferred(self, design: Design | None = None) -> RatioEstimate:
        """The ratio from the finals of baselines and calibration runs."""
        import pandas as pd

        design = design or self._design
        cells = [(steps, seed) for steps in design.calibration_steps for seed in range(design.calibration_seeds)]
        runs = {run.fingerprint: run for run in (*(self.of(*cell) for cell in cells), *self.baselines(design))}
        points: pd.DataFrame = pd.DataFrame(
            [(run.tokens, run.min_val_bpb, run.seed) for run in runs.values()], columns=["tokens", "loss", "seed"]
        )
        return infer_ratio(
            points,
            threshold=self.threshold(design),
            n_scaling_params=design.n_scaling_params,
            baseline_tokens=design.baseline_steps * design.tokens_per_step,
            offset=design.threshold_offset,
        )

    def train_sec(self) -> float:
        """Training time of all runs made so far [s]."""
        return sum(run.total_training_time_sec or 0.0 for run in self._made.values())

    def of(self, steps: int, seed: int) -> RunResult:
        """The run of a horizon and a seed."""
        if (steps, seed) not in self._made:
            own = float(self._effects[seed]) + self._draw.normal(0.0, self._design.surface.noise_sd)
            self._made[steps, seed] = _run(self._design, steps, seed, own)
        return self._made[steps, seed]


def _run(design: Design, steps: int, seed: int, own: float) -> RunResult:
    """A finished run that lies `own` above the surface [bpb]. Not validated: there are a hundred thousand."""
    grid, mean = _mean_curve(design, steps)
    step_sec = design.surface.seconds_per_step
    curve = tuple(
        ValidationPoint(step, max(0, step - UNTIMED_STEPS) * step_sec, bpb + own)
        for step, bpb in zip(grid, mean.tolist(), strict=True)
    )
    return RunResult.model_construct(
        timestamp_utc="", run_id=f"i{steps}_s{seed}", fingerprint=f"{steps}-{seed}", recipe="", backend="simulated",
        seed=seed, depth=1, max_seq_len=1, device_batch_size=1, total_batch_size=design.tokens_per_step,
        n_scaling_params=design.n_scaling_params, steps=steps, warmdown_ratio=design.warmdown_ratio, status="ok",
        val_curve=curve, final_train_loss=None, tok_per_sec_median=None, dt_median_ms=1000 * step_sec,
        total_training_time_sec=curve[-1].seconds, wall_time_sec=None, peak_mem_mib=None, device="simulated",
    )  # fmt: skip


def _mean_curve(design: Design, steps: int) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    grid = evaluation_steps(steps, design.eval_every, design.eval_every_late)
    at = np.maximum(np.array(grid, dtype=np.float64), 1.0)
    surface = design.surface
    left = np.minimum(1.0, (steps - np.array(grid)) / (design.warmdown_ratio * steps)) if design.warmdown_ratio else 0.0
    loss = (
        surface.asymptote
        + surface.amplitude * (at * design.tokens_per_step / design.n_scaling_params) ** -surface.exponent
    )
    return grid, loss + surface.warmdown_gain * left**surface.warmdown_power
