"""What a design can find out, before anything is trained: interval, power of the verdict, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from laneb.decision.looks import critical_at
from laneb.planning.design import CONFIRMATION_FACTOR, Design
from laneb.planning.lanes import Runs
from laneb.planning.next_step import next_step
from laneb.records.base import utc_now
from laneb.records.plan import Forecast, Plan
from laneb.training.estimate import estimate
from laneb.training.spec import RunSpec

if TYPE_CHECKING:
    from laneb.inference.ratio import RatioEstimate
    from laneb.plan import Sections
    from laneb.records.runs import RunResult
    from laneb.training.surface import Surface

GAINS = (0.02, 0.05, 0.10)
HOPELESS = 0.2
"""Power at the largest gain that is possible, and at the surface's own, below which a design is called hopeless."""
DRAWS = 20_000
"""Of the differences whose power is asked for: known to 0.007."""
LANES = 15
"""Enough for the expected width of an interval, which is all that is played out here."""


def plan_of(settings: Sections, runs: Sequence[RunResult] = (), *, neighbours: bool = True) -> Plan:
    """The plan of an experiment: its design and the neighbours of it, and the next step once runs are calibrated.

    Args:
        settings: of the experiment.
        runs: its finished baselines and calibration runs, of which the losses and spreads are taken; with too few,
            those of `training.simulated_surface`, or the default ones.
        neighbours: forecasts of one seed and one horizon more and less, too.

    Raises:
        ValueError: settings that no run can be made of.
    """
    from laneb.plan import planned_runs
    from laneb.planning.from_runs import surface_like

    spec = planned_runs(settings)[0].spec
    assumed = Design.of(settings).surface
    like = surface_like(runs, assumed)
    surface = like or _timed(assumed, spec, settings)
    design = Design.of(settings, surface)
    designs = {"as it stands": design, **(_neighbours(design) if neighbours else {})}
    forecasts = tuple(_forecast(name, each) for name, each in designs.items())
    return Plan(
        timestamp_utc=utc_now(),
        assumed_from=_source(settings, len({run.fingerprint for run in runs}) if like else 0),
        problems=(*design_problems(settings), *_hopeless(forecasts[0], design)),
        forecasts=forecasts,
        next_step=next_step(settings, design, runs) if like else None,
        surface=surface.model_dump(mode="json"),
    )


def design_problems(settings: Sections) -> list[str]:
    """Why a design can never be accepted, or hardly: a sentence each, with what to do. Empty for a sound one.

    Raises nothing: what can't be trained at all is the settings' own business.
    """
    run_seeds, known = settings.candidates.run_seeds, settings.baseline.seeds
    paired = [seed for seed in run_seeds if seed in known]
    alone = [seed for seed in run_seeds if seed not in known]
    problems = []
    if alone:
        problems.append(
            f"candidates of seed {_listed(alone)} have no baseline to be paired with: add it to LANE_B_BASELINE_SEEDS"
        )
    if len(paired) < 2:
        problems.append(
            f"{len(paired)} paired seed(s) can't show a gain, whatever it is: take two at least, three for a gain of "
            f"five standard deviations, with LANE_B_RUN_SEEDS={_listed(known[:3])}"
        )
    elif len(paired) == 2:
        problems.append(
            f"two paired seeds show a gain only if it is {critical_at(2, ()) / math.sqrt(2):.0f} times their spread: "
            f"three need it to be {critical_at(3, ()) / math.sqrt(3):.0f} times. Add one to LANE_B_RUN_SEEDS"
        )
    if not set(settings.calibration.all_seeds) & set(known):
        problems.append(
            f"calibration seeds {_listed(settings.calibration.all_seeds)} are none of the baselines': their effects do "
            f"not cancel. Set LANE_B_CALIB_SEEDS={_listed(known[:2])}"
        )
    return problems


def _hopeless(forecast: Forecast, design: Design) -> list[str]:
    """Why even a large gain would hardly be seen, although nothing forbids it; a sentence with what to do."""
    if forecast.seeds < 2:
        return []
    if forecast.half_width is None:
        if not _lane(design, 0).lane.interval_measured:
            return [
                "no interval is expected of this design: as many levels and seed effects as finals leave nothing that "
                "measures how runs scatter. Calibrate with one seed more (LANE_B_CALIB_SEEDS)"
            ]
        return [
            "no ratio is expected of this design: the threshold lies too far from the calibrated horizons. Calibrate "
            "nearer to it (LANE_B_CALIB_ITERS)"
        ]
    possible = {gain: power for gain, power in forecast.power.items() if power is not None}
    if not possible:
        return [
            f"not even a gain of {float(next(iter(forecast.power))):.0%} is possible: the baselines' own horizon is "
            f"nearly the answer. A larger LANE_B_THRESHOLD_OFFSET asks for less and gives a shorter horizon"
        ]
    gain, power = list(possible.items())[-1]
    if max(power, forecast.power_at_gain or 0.0) >= HOPELESS:
        return []
    if forecast.least_gain is None or forecast.least_gain >= float(gain):
        return [
            f"not even a gain of {float(gain):.0%} would be accepted, for it lies within the evaluation grid: evaluate "
            f"more often (LANE_B_EVAL_EVERY, LANE_B_EVAL_EVERY_LATE)"
        ]
    return [
        f"even a gain of {float(gain):.0%} would be accepted with a probability of {power:.2f} only: add seeds to "
        f"LANE_B_BASELINE_SEEDS and LANE_B_RUN_SEEDS"
    ]


def _listed(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))


def _timed(surface: Surface, spec: RunSpec, settings: Sections) -> Surface:
    """An assumed surface with the pace that runs are estimated to have, where none was stated."""
    if settings.training.simulated_surface or spec.surface is not None:
        return surface
    return surface.model_copy(update={"seconds_per_step": estimate(spec).seconds / spec.steps})


def _source(settings: Sections, runs: int) -> str:
    assumed = settings.training.simulated_surface or "no run yet: the default loss surface, a guess"
    source = f"this experiment's {runs} finished runs" if runs else assumed
    # `laneb doctor` says beside it how soon such runs are over.
    simulated = settings.training.backend == "simulated"
    return f"{source}; simulated, so that training times are the surface's" if simulated else source


def _neighbours(design: Design) -> dict[str, Design]:
    """One seed more and less, for baselines, calibration and candidates alike; one horizon more and less."""
    found = {"one seed more": _with_seeds(design, 1)}
    if min(design.baseline_seeds, design.run_seeds) > 1:
        found["one seed less"] = _with_seeds(design, -1)
    horizons = sorted({*design.calibration_steps, design.baseline_steps})
    wider = max(range(len(horizons) - 1), key=lambda index: horizons[index + 1] / horizons[index])
    middle = round(math.sqrt(horizons[wider] * horizons[wider + 1]))
    found["one horizon more"] = replace(design, calibration_steps=(*design.calibration_steps, middle))
    own = [steps for steps in design.calibration_steps if steps != design.baseline_steps]
    if len(own) > 1:
        fewer = tuple(steps for steps in design.calibration_steps if steps != own[-1])
        found["one horizon less"] = replace(design, calibration_steps=fewer)
    return found


def _with_seeds(design: Design, more: int) -> Design:
    return replace(
        design,
        baseline_seeds=design.baseline_seeds + more,
        run_seeds=design.run_seeds + more,
        calibration_seeds=max(1, design.calibration_seeds + more),
    )


def _forecast(name: str, design: Design) -> Forecast:
    pairs = min(design.baseline_seeds, design.run_seeds)
    return Forecast(
        name=name,
        seeds=pairs,
        horizons=len({*design.calibration_steps, design.baseline_steps}),
        half_width=_half_width(design),
        power={f"{gain:g}": _power(design, gain, pairs) for gain in GAINS},
        least_gain=design.least_gain(),
        gain=design.true_gain(),
        power_at_gain=power_of(design, pairs),
        train_sec=_train_sec(design),
    )


def _half_width(design: Design) -> float | None:
    """Median over lanes that stop at the inference."""
    widths = []
    for number in range(LANES):
        answer = _lane(design, number)
        low, high = answer.ratio_interval
        if answer.ratio is not None and math.isfinite(high):
            widths.append((high - low) / (2 * answer.ratio))
    return median(widths) if len(widths) > LANES // 2 else None


def _lane(design: Design, number: int) -> RatioEstimate:
    """What is inferred of one lane of the design."""
    return Runs(design, np.random.default_rng([7, number])).inferred()


def _power(design: Design, gain: float, pairs: int) -> float | None:
    """`power_of` where the confirmation gains so much; None where no warmdown gives it."""
    try:
        return power_of(design.with_gain(gain), pairs)
    except ValueError:
        return None


def power_of(design: Design, pairs: int) -> float:
    """Probability of an ACCEPT of the confirmation at the first look, with the gain that the design's surface gives.

    Paired differences are drawn about the gain, in steps, with the spread that the surface gives them; then the rule:
    a spread of at least the evaluation grid's, t above its critical value, a mean beyond the grid.
    """
    if pairs < 2:
        return 0.0
    mean, effect, widths = design.gain_steps(), design.effect(), design.grid_steps()
    if mean <= 0:
        return 0.0
    drawn = np.random.default_rng(7).normal(mean, mean / effect, (DRAWS, pairs))
    spread = np.maximum(drawn.std(axis=1, ddof=1), math.hypot(*widths) / math.sqrt(12))
    means = drawn.mean(axis=1)
    accepted = (means * math.sqrt(pairs) > critical_at(pairs, ()) * spread) & (means > max(widths))
    return float(accepted.mean())


def _train_sec(design: Design) -> float:
    """All runs, each horizon and seed once; candidates at the true ratio and 1.05 times it, as near as it is known."""
    needed = design.true_steps() or float(design.baseline_steps)
    cells = {(design.baseline_steps, seed) for seed in range(design.baseline_seeds)}
    cells |= {(steps, seed) for steps in design.calibration_steps for seed in range(design.calibration_seeds)}
    steps = sum(each for each, _ in cells) + design.run_seeds * needed * (1 + CONFIRMATION_FACTOR)
    return float(steps * design.surface.seconds_per_step)
