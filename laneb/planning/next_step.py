"""After calibration: which further runs narrow the ratio's interval most, for the time that they take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from laneb.inference import infer_ratio
from laneb.planning.design import Design
from laneb.records.plan import NextStep
from laneb.records.runs import RunResult

if TYPE_CHECKING:
    import pandas as pd

    from laneb.inference.ratio import RatioEstimate
    from laneb.plan import Sections


NO_INTERVAL = 1.0
"""Half width over the ratio of an interval that would tell nothing."""


def next_step(settings: Sections, design: Design, runs: Sequence[RunResult]) -> NextStep | None:
    """One seed or one horizon more, whichever narrows the interval most per second; None where neither does.

    Where the finals give no interval yet, because they do not measure their own noise, a step that gives one counts as
    narrowing it from 100 %: as wide as the ratio itself.

    The runs to come are put where the fitted curve expects them, with the spread that the runs so far have; then the
    ratio is inferred anew from all.

    Args:
        settings: of the experiment.
        design: on the surface that its runs lie on.
        runs: its finished baselines and calibration runs.
    """
    done = {(run.steps, run.seed): run for run in runs if run.status == "ok" and run.min_val_bpb is not None}
    try:
        now = _answer(design, done_points(done), settings)
    except ValueError:
        return None
    if now.ratio is None:
        return None
    width = _half_width(now)
    best: NextStep | None = None
    for key, value, cells, what in _steps(settings, design, now):
        added = [cell for cell in cells if cell not in done]
        points = [*done_points(done), *(_expected(design, now, steps, seed) for steps, seed in added)]
        seconds = sum(steps for steps, _ in added) * design.surface.seconds_per_step
        try:
            then = _half_width(_answer(design, points, settings))
        except ValueError:
            continue
        if not added or then is None or then >= (NO_INTERVAL if width is None else width):
            continue
        step = NextStep(key=key, value=value, what=what, train_sec=seconds, half_width_now=width, half_width_then=then)
        if best is None or _per_second(step) > _per_second(best):
            best = step
    return best


def _per_second(step: NextStep) -> float:
    now = NO_INTERVAL if step.half_width_now is None else step.half_width_now
    return (now - step.half_width_then) / step.train_sec


Cells = list[tuple[int, int]]
Points = list[tuple[int, float, int]]


def _steps(settings: Sections, design: Design, now: RatioEstimate) -> Iterator[tuple[str, tuple[int, ...], Cells, str]]:
    """What could be added: a knob, its new value, the runs (steps, seed) that it means, and what to call them."""
    horizons, seeds = settings.calibration.iterations, settings.calibration.all_seeds
    more = next(seed for seed in (*settings.baseline.seeds, max((*settings.baseline.seeds, *seeds)) + 1)
                if seed not in seeds)  # fmt: skip
    yield (
        "calibration.seeds", (*seeds, more), [(steps, more) for steps in horizons], f"seed {more} at every horizon"
    )  # fmt: skip
    assert now.tokens is not None
    known = sorted({*horizons, design.baseline_steps})
    target = round(now.tokens / design.tokens_per_step)
    between = [round(math.sqrt(low * high)) for low, high in pairwise(known)]
    for steps in sorted({target, *between} - set(known)):
        yield (
            "calibration.iterations", tuple(sorted((*horizons, steps))), [(steps, seed) for seed in seeds],
            f"{steps} steps with every seed",
        )  # fmt: skip


def done_points(done: dict[tuple[int, int], RunResult]) -> Points:
    """Finals of finished runs: tokens, loss, seed."""
    return [(run.tokens, run.min_val_bpb or math.nan, run.seed) for run in done.values()]


def _expected(design: Design, now: RatioEstimate, steps: int, seed: int) -> tuple[int, float, int]:
    """A run to come: on the curve, with its seed's effect, a typical deviation up or down beside it."""
    tokens = steps * design.tokens_per_step
    deviation = design.surface.noise_sd * (1 if (steps + seed) % 2 else -1)
    return tokens, float(now.curve.loss(tokens)) + now.seed_effects.get(seed, 0.0) + deviation, seed


def _answer(design: Design, points: Points, settings: Sections) -> RatioEstimate:
    import pandas as pd

    frame: pd.DataFrame = pd.DataFrame(points, columns=["tokens", "loss", "seed"])
    baseline = design.baseline_steps * design.tokens_per_step
    own = frame[frame["tokens"] == baseline]["loss"].tolist()
    explicit = settings.threshold.target_threshold
    if explicit is not None or not own:
        threshold = explicit if explicit is not None else math.nan
        return infer_ratio(frame, threshold=threshold, n_scaling_params=design.n_scaling_params)
    return infer_ratio(
        frame,
        threshold=median(own) + design.threshold_offset,
        n_scaling_params=design.n_scaling_params,
        baseline_tokens=baseline,
        offset=design.threshold_offset,
    )


def _half_width(answer: RatioEstimate) -> float | None:
    low, high = answer.ratio_interval
    return None if answer.ratio is None or not math.isfinite(high) else (high - low) / (2 * answer.ratio)
